"""The accounts and linked devices a loopback service knows, and their file."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from .authority import write_private
from .binary import LID_SERVER, USER_SERVER, Jid
from .keys import KeyPair

FORMAT: Final = 1


@dataclass(slots=True)
class Device:
    """A linked device. The keys are hexadecimal public keys; ``prekeys`` is how many the server holds."""

    jid: str
    lid: str
    noise_key: str
    identity_key: str
    key_index: int
    prekeys: int = 0


@dataclass(slots=True)
class Account:
    """A phone number: the phone's identity key (hexadecimal, private) and its devices by address."""

    number: str
    identity: str = field(repr=False)
    lid: str
    last_index: int = 0
    devices: dict[str, Device] = field(default_factory=dict)

    @property
    def key(self) -> KeyPair:
        return KeyPair(bytes.fromhex(self.identity))

    def next_device(self, noise_key: bytes, identity_key: bytes) -> Device:
        """A device with the next index, which nobody else gets; it is not linked yet."""
        self.last_index += 1
        index = self.last_index
        jid, lid = Jid(self.number, USER_SERVER, index), Jid(self.lid, LID_SERVER, index)
        return Device(str(jid), str(lid), noise_key.hex(), identity_key.hex(), index)


class Accounts:
    """All accounts, written to ``path`` (if there is one) whenever a device is linked or removed."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._accounts: dict[str, Account] = {}
        if path is not None and path.exists():
            self._load(json.loads(path.read_text()))

    def _load(self, data: dict[str, Any]) -> None:
        if data.get("format") != FORMAT:
            raise ValueError(f"{self._path}: format {data.get('format')!r}, expected {FORMAT}")
        for entry in data["accounts"]:
            devices = {jid: Device(**device) for jid, device in entry.pop("devices").items()}
            self._accounts[entry["number"]] = Account(**entry, devices=devices)

    def save(self) -> None:
        if self._path is not None:
            accounts = [asdict(account) for account in self._accounts.values()]
            write_private(self._path, json.dumps({"format": FORMAT, "accounts": accounts}).encode())

    def account(self, number: str) -> Account:
        """The account of a phone number, made when it is new; raises ValueError for what is not a number."""
        if (
            not (number.isascii() and number.isdecimal())
            or not 7 <= len(number) <= 15
            or number.startswith("0")
        ):
            raise ValueError(f"number {number!r} is not an international phone number of 7 to 15 digits")
        if number not in self._accounts:
            lid = "".join(secrets.choice("123456789") for _ in range(15))
            self._accounts[number] = Account(number, KeyPair.generate().private.hex(), lid)
        return self._accounts[number]

    def find(self, jid: str) -> Device | None:
        account = self._accounts.get(jid.partition(":")[0])
        return account.devices.get(jid) if account else None

    def link(self, number: str, device: Device) -> None:
        self.account(number).devices[device.jid] = device
        self.save()

    def forget(self, jid: str) -> bool:
        """Remove a device; False if it was not linked."""
        account = self._accounts.get(jid.partition(":")[0])
        removed = account is not None and account.devices.pop(jid, None) is not None
        if removed:
            self.save()
        return removed

    def devices(self, number: str | None = None) -> list[Device]:
        return [
            device
            for account in self._accounts.values()
            if number is None or account.number == number
            for device in account.devices.values()
        ]
