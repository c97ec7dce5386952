"""Finds or makes what a message needs in Chatwoot: the inbox, the contact that it is from, the conversation."""

from __future__ import annotations

from actors.chatwoot.account import Account
from actors.chatwoot.api import Api, Conversation
from actors.chatwoot.texts import Message
from actors.chatwoot.wire import ChatwootError, Refused

CONTACT = "123456"
"""The phone number of the contact that messages are from, as in Evolution API."""

TAKEN = 422
"""What Chatwoot answers when a contact with that phone number has just been made by somebody else."""


class Desk:
    """Remembers what it has found; a new one looks everything up again."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._inbox: int | None = None
        self._contact: int | None = None

    def post(
        self, api: Api, message: Message, source: str, conversation: int | None, *, maybe_sent: bool
    ) -> int:
        """Write a message.

        Args:
            source: the event's id.
            conversation: the one written into before, if known.
            maybe_sent: it may have been sent before; then it is looked for first.

        Returns:
            The conversation that it stands in.

        Raises:
            ChatwootError: it was not written, or may not have been.
        """
        inbox = self._find_inbox(api)
        found = self._conversation(api, inbox, conversation)
        if not (maybe_sent and source in api.sources(found)):
            api.send(found, message.text, message.picture, source)
        return found

    def forget(self) -> None:
        """Look everything up again next time: what is remembered may be gone."""
        self._inbox = self._contact = None

    def _find_inbox(self, api: Api) -> int:
        if self._inbox is None:
            self._inbox = api.inbox(self._account.inbox)
        if self._inbox is None:
            if not self._account.create_inbox:
                raise ChatwootError("there is no inbox of that name and type API, and autoCreate is false")
            self._inbox = api.create_inbox(self._account.inbox)
        return self._inbox

    def _conversation(self, api: Api, inbox: int, known: int | None) -> int:
        if known is not None:
            present = api.conversation(known)
            if present is not None and present.inbox == inbox and self._serves(present):
                return known
        contact = self._find_contact(api, inbox)
        for other in api.conversations(contact):
            if other.inbox == inbox and self._serves(other):
                return other.id
        return api.create_conversation(inbox, contact)

    def _find_contact(self, api: Api, inbox: int) -> int:
        if self._contact is None:
            self._contact = api.contact(CONTACT)
        if self._contact is None:
            self._contact = self._make_contact(api, inbox)
        return self._contact

    @staticmethod
    def _make_contact(api: Api, inbox: int) -> int:
        try:
            return api.create_contact(inbox, CONTACT)
        except Refused as refused:
            found = api.contact(CONTACT) if refused.status == TAKEN else None
            if found is None:
                raise
            return found

    def _serves(self, conversation: Conversation) -> bool:
        """Whether it can be written into: a message in a resolved one reopens it, if that is wanted."""
        return self._account.reopen or conversation.status != "resolved"
