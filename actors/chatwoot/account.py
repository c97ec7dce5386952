"""The Chatwoot account of an instance, as far as the notifier uses what `POST /chatwoot/set` stores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

DEFAULT_CONTACT = "zapvisor"


@dataclass(frozen=True, slots=True)
class Account:
    """Where an instance reports to.

    Attributes:
        url: of the Chatwoot server, without a slash at the end.
        id: the account's number there.
        inbox: the name of the inbox.
        create_inbox: make the inbox if there is none of that name (Evolution API's `autoCreate`).
        reopen: write into a resolved conversation, which reopens it, instead of beginning another.
        status: that of a conversation that is begun.
        contact: the name that the messages are from.
        picture: the URL of the contact's picture.
    """

    url: str = field(repr=False)
    id: str
    token: str = field(repr=False)
    inbox: str
    create_inbox: bool = True
    reopen: bool = False
    status: str = "open"
    contact: str = DEFAULT_CONTACT
    picture: str | None = None

    @classmethod
    def of(cls, instance: str, stored: Mapping[str, Any]) -> Account | None:
        """The account that an instance's settings name; None if they are switched off or incomplete."""
        url, id, token = (str(stored.get(key) or "").strip() for key in ("url", "accountId", "token"))
        if not (stored.get("enabled") and url and id and token):
            return None
        return cls(
            url=url.rstrip("/"),
            id=id,
            token=token,
            inbox=str(stored.get("nameInbox") or instance),
            create_inbox=stored.get("autoCreate") is not False,
            reopen=bool(stored.get("reopenConversation")),
            status="pending" if stored.get("conversationPending") else "open",
            contact=str(stored.get("organization") or DEFAULT_CONTACT),
            picture=str(stored.get("logo") or "") or None,
        )
