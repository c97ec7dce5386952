"""Writes the table of events in docs/events.md from the models that produce them.

`python -m actors.events.document` brings the file up to date; with `--check` it only says whether it is.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from actors.delivery.request import Sender, envelope
from actors.events.models import MODELS, EventData
from actors.events.names import filter_name, path_suffix
from actors.store import EventRow
from actors.store.outbox import Pending

FILE = Path(__file__).parents[2] / "docs" / "events.md"
BEGIN = "<!-- What follows is written by `python -m actors.events.document`. -->"
END = "<!-- Up to here. -->"

AT = 1_700_000_000.0
NAMES = {str: "text", int: "number", float: "time", bool: "truth"}
"""How the documentation calls the fields' types; the models' only floats are points in time."""


def example(model: type[EventData]) -> dict[str, Any]:
    """What a webhook receives of an event's example, made as a delivery makes it."""
    event = model.model_validate({"instance": "sales", **model.example})
    row = EventRow(
        seq=1,
        id="2b1f8d0e-6c0b-4b7e-9a35-7f1f4c8f9d11",
        instance_id="5e2b6c3e-5d0e-4a6e-9a3f-0d6a7c1b2f10",
        instance_name="sales",
        event=model.name,
        data=event.data(),
        secret=event.secret(),
        secret_until=None,
        sender="5511999990001@s.whatsapp.net",
        apikey="0123456789ABCDEF0123456789ABCDEF0123",
        created_at=AT,
    )
    pending = Pending(1, "https://n8n.example.org/webhook/wa", "instance", {}, 0, None, row)
    sender = Sender("https://wa.example.org", lambda _: "data:image/png;base64,iVBORw0…")
    return envelope(pending, sender, AT, pictures=True)


def tables() -> str:
    """The whole envelope once, then all events in one table, then the fields of each."""
    whole = example(MODELS["connection.update"])
    return "\n".join(
        [
            "## What a request holds",
            "",
            "```json",
            json.dumps(whole, indent=2, ensure_ascii=False),
            "```",
            "",
            "## All events",
            "",
            "The name in capitals is that of filters; the last part is what `byEvents` appends to the URL.",
            "",
            "| event | sent when | example of `data` |",
            "|---|---|---|",
            *(_row(model) for model in MODELS.values()),
            "",
            "## Fields",
            "",
            "Every event's `data` has `instance`, the instance's name. Fields that are not set are left out.",
            "",
            "| event | field | type | |",
            "|---|---|---|---|",
            *(line for model in MODELS.values() for line in _fields(model, model.name)),
        ]
    )


def render(text: str) -> str:
    """The file's text with the part that is written here brought up to date.

    Raises:
        ValueError: the text does not have the two marks.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{FILE.name}: the marks {BEGIN!r} and {END!r} are not there")
    return f"{before}{BEGIN}\n\n{tables()}\n\n{END}{after}"


def main(arguments: list[str]) -> int:
    """Bring the file up to date; with `--check`, 1 if it is not."""
    present = FILE.read_text(encoding="utf-8")
    wanted = render(present)
    if arguments == ["--check"]:
        return int(present != wanted)
    FILE.write_text(wanted, encoding="utf-8")
    return 0


def _row(model: type[EventData]) -> str:
    data = json.dumps(example(model)["data"], ensure_ascii=False)
    names = f"`{model.name}`<br>`{filter_name(model.name)}`<br>`/{path_suffix(model.name)}`"
    return f"| {names} | {model.when} | `{data}` |"


def _fields(model: type[BaseModel], event: str, prefix: str = "") -> list[str]:
    lines = []
    for name, field in model.model_fields.items():
        if name == "instance" and not prefix:
            continue
        inner = _inner(field)
        lines.append(f"| `{event}` | `{prefix}{name}` | {_type(field)} | {field.description or ''} |")
        if inner is not None:
            lines += _fields(inner, event, f"{prefix}{name}.")
    return lines


def _members(field: FieldInfo) -> list[Any]:
    annotation = field.annotation
    united = get_origin(annotation) in (Union, UnionType)
    return [
        member for member in (get_args(annotation) if united else (annotation,)) if member is not NoneType
    ]


def _inner(field: FieldInfo) -> type[BaseModel] | None:
    for member in _members(field):
        if isinstance(member, type) and issubclass(member, BaseModel):
            return member
    return None


def _type(field: FieldInfo) -> str:
    names = [NAMES.get(member, "JSON text" if get_origin(member) else "object") for member in _members(field)]
    optional = NoneType in get_args(field.annotation)
    return " or ".join([*names, *(["null"] if optional else [])])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
