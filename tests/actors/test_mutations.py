"""The mutations still fit the sources, so that the script that tries them does not rot; two of them are tried."""

from __future__ import annotations

import pytest

from supervisor.config.codes import DEFAULT_RULES
from tests.actors.mutations import CELLS, MUTATIONS, SUITE
from tests.mutants import ROOT, Mutation, fits, is_noticed

SAMPLE = ("the QR limit comes one code late", "503: another delay")


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda one: one.name)
def test_a_mutation_changes_exactly_one_place(mutation: Mutation) -> None:
    fits(mutation, ROOT)


def test_every_cell_of_the_table_of_codes_has_its_mutation() -> None:
    columns = ("action", "delay", "cleanup", "reason", "name", "number")
    wanted = {f"{code}: another {column}" for code in DEFAULT_RULES for column in columns}
    assert wanted <= {mutation.name for mutation in CELLS}


def test_no_two_have_the_same_name() -> None:
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS)


@pytest.mark.parametrize("name", SAMPLE)
def test_a_change_is_noticed(name: str) -> None:
    [mutation] = [one for one in MUTATIONS if one.name == name]
    noticed, first = is_noticed(mutation, SUITE)
    assert noticed, first
