"""The roster does not wait for a credential store over and over: what it waits for, everybody waits for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.credentials import CredentialsUnavailable
from actors.messages import CreateInstance, DeleteInstance
from actors.services import ROSTER
from actors.store import cleanups
from supervisor.config import HostSettings, Settings
from tests.actors.session.tree import Tree


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    tree = Tree(tmp_path, Settings(host=HostSettings(data_dir=tmp_path)))
    yield tree
    tree.stop()


class Attempts:
    """A credential store that counts, and is away for as long as it is told."""

    def __init__(self, tree: Tree, *, away: bool, shared: bool = False) -> None:
        self.made: list[str] = []
        self.away = away
        really = tree.credentials.delete

        def delete(instance_id: str, jid: str | None = None) -> None:
            self.made.append(instance_id)
            if self.away:
                raise CredentialsUnavailable("the store does not answer")
            really(instance_id, jid)

        tree.credentials.delete = delete
        tree.credentials.by_device = shared


def delete(tree: Tree, *names: str) -> None:
    for name in names:
        tree.ask(ROSTER, CreateInstance(name))
        tree.settle()
        answer = tree.ask(ROSTER, DeleteInstance(name))
        tree.settle()
        assert answer.given
        assert answer.error is None
        assert tree.row(name) is None


def test_what_the_session_has_deleted_is_not_deleted_again(tree: Tree) -> None:
    attempts = Attempts(tree, away=False)
    delete(tree, "sales")
    assert len(attempts.made) == 1
    assert tree.query(cleanups.pending) == []


def test_what_the_session_could_not_delete_is_left_to_the_next_start(tree: Tree) -> None:
    """Invariant 7: then it goes everywhere."""
    attempts = Attempts(tree, away=True)
    delete(tree, "sales")
    assert len(attempts.made) == 1
    assert tree.query(cleanups.pending)
    tree.stop()
    tree.start()
    assert tree.query(cleanups.pending) == []


@pytest.mark.parametrize(("shared", "attempts_at_boot"), [(True, 1), (False, 3)])
def test_a_boot_waits_once_for_a_store_that_all_share(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, shared: bool, attempts_at_boot: int
) -> None:
    """A file that cannot be deleted says nothing of the others."""
    attempts = Attempts(tree, away=True, shared=shared)
    delete(tree, "sales", "support", "billing")
    left = tree.query(cleanups.pending)
    attempts.made.clear()
    tree.kill(ROSTER)
    tree.settle()
    tree.ask(ROSTER, CreateInstance("others"))
    tree.settle()
    assert tree.row("others") is not None
    assert len(attempts.made) == attempts_at_boot
    assert tree.query(cleanups.pending) == left
