"""supervisor.ini.example is complete, and says the truth about defaults."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from supervisor.config import Settings, load, loads
from supervisor.config.codes import DEFAULT_RULES
from supervisor.config.environment import RULE_OPTIONS
from supervisor.config.ini import IniReader
from supervisor.config.models import SECTIONS

EXAMPLE = Path(__file__).parents[3] / "supervisor.ini.example"
KEYS = {
    **{section: set(model.model_fields) for section, model in SECTIONS.items()},
    **{f"disconnect.{code}": set(RULE_OPTIONS) for code in (*DEFAULT_RULES, "default")},
}


def uncommented() -> str:
    return re.sub(r"(?m)^;", "", EXAMPLE.read_text())


@pytest.fixture
def defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(EXAMPLE.parent)
    return load(None, {})


def test_as_it_is_it_changes_nothing(defaults: Settings) -> None:
    assert load(EXAMPLE, {}).model_copy(update={"source": None}) == defaults


def test_it_has_every_key_and_no_other() -> None:
    entries = IniReader(uncommented(), "example").entries
    assert {name: set(keys) for name, keys in entries.items() if name != "instance:sales"} == KEYS


def test_every_key_shows_its_default(defaults: Settings) -> None:
    settings = loads(uncommented(), base=EXAMPLE.parent)
    assert set(settings.instances) == {"sales"}
    assert settings.model_copy(update={"instances": defaults.instances}) == defaults


def test_every_key_is_explained() -> None:
    text = EXAMPLE.read_text()
    for section in SECTIONS:
        _, header, rest = text.partition(f"\n[{section}]\n")
        assert header, section
        for block in re.split(r"\n\n+", rest.partition("\n[")[0]):
            assert ";" not in block[:1], f"{section}: {block}"
