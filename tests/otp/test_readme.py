"""The example of the README runs."""

from __future__ import annotations

import re
from typing import Any

from tests.otp.mutations import LIBRARY


def test_the_example_of_the_readme_runs() -> None:
    (example,) = re.findall(
        r"```python\n(.*?)```", (LIBRARY / "README.md").read_text(encoding="utf-8"), re.DOTALL
    )
    names: dict[str, Any] = {}
    exec(compile(example, "README.md", "exec"), names)
    assert names["system"].threads() == 0
