"""The mutations still fit the library, so that the script that tries them does not rot."""

from __future__ import annotations

import pytest

from tests.otp.mutations import LIBRARY, MUTATIONS, Mutation


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda one: one.name)
def test_a_mutation_changes_exactly_one_place(mutation: Mutation) -> None:
    text = (LIBRARY / mutation.file).read_text(encoding="utf-8")
    assert text.count(mutation.old) == 1
    compile(text.replace(mutation.old, mutation.new), mutation.file, "exec")
