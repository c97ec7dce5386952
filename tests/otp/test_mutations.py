"""The mutations still fit the library, so that the script that tries them does not rot."""

from __future__ import annotations

import pytest

from tests.mutants import Mutation, fits
from tests.otp.mutations import LIBRARY, MUTATIONS


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda one: one.name)
def test_a_mutation_changes_exactly_one_place(mutation: Mutation) -> None:
    fits(mutation, LIBRARY)
