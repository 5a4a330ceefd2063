"""API keys (U5): scoped bearer tokens for programs. Looked up in memory, kept as rows, shown once.

Invariant: only the SHA-256 of a token is kept, so whoever reads the books cannot use it; a revoked key is refused from the commit on.
"""

from __future__ import annotations

import re

import msgspec

from shared.errors import refuse
from shared.runtime import log
from shared.runtime.database import Database, Event, InlineWriter
from shared.runtime.passwords import hash_token, new_token

from ..store import api_keys as rows
from ..store.api_keys import ApiKey

_log = log.get("hub.api_keys")

#: the scope that opens the pages under /manage to a person
ADMIN = "admin"
#: scope -> what it lets a program do
SCOPES: dict[str, str] = {
    "availability:read": "Read what is free, bays, prices and quotes.",
    "bookings:read": "Read bookings, their PINs and passes.",
    "bookings:write": "Hold, book, change and cancel.",
    "blackouts:write": "Read blocks, take bays out of sale and put them back.",
    "sites:read": "Read the state of the sites and their links.",
    "customers:read": "Read customers with their contact data.",
    ADMIN: "Sign in to the hub's own pages under /manage, letters to customers included.",
}
PREFIX = "chk_"
NAME_MAX = 80
TOKEN_CHARACTERS_MAX = 200


class ApiKeys:
    """The living keys by the hash of their token. Call `load` once the books are open; it follows every change by itself."""

    def __init__(self, db: Database | InlineWriter):
        self._db = db
        self._by_hash: dict[str, ApiKey] = {}
        db.listen(self._changed)

    def load(self) -> None:
        self._by_hash = {key.token_hash: key for key in self._db.read(rows.all_keys) if not key.revoked_at}

    def _changed(self, events: list[Event]) -> None:
        if any(topic == "api_key" for topic, _ in events):
            self.load()

    def find(self, token: str) -> ApiKey | None:
        """The living key of a bearer token."""
        return self._by_hash.get(hash_token(token)) if len(token) <= TOKEN_CHARACTERS_MAX else None

    def living(self, key_id: str) -> ApiKey | None:
        """The living key of an id, which is no secret and opens nothing by itself."""
        return next((key for key in self._by_hash.values() if key.id == key_id), None)

    async def take(self, wish: KeyWish, now_at: int) -> None:
        """Carries out what a command left for the running hub."""

        def write(tx) -> None:
            if wish.revoke:
                rows.revoke(tx, wish.revoke, now_at)
            if wish.add is not None:
                rows.add(tx, wish.add)

        await self._db.write(write)
        _log.info("api_keys.changed", key_id=wish.revoke or (wish.add.id if wish.add else ""))


class KeyWish(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a command wants done: a key added (its hash only) or one revoked by id."""

    add: ApiKey | None = None
    revoke: str = ""


def make(name: str, scopes: list[str], now_at: int) -> tuple[ApiKey, str]:
    """A new key and its token, which is in nobody's hands but the caller's. Refuses `bad_request` for a wrong name or scope."""
    name = " ".join(name.split())
    if not name or len(name) > NAME_MAX or not name.isprintable():
        raise refuse("bad_request", f"Give the key a name of 1 to {NAME_MAX} characters, for instance the program that uses it.")
    unknown = sorted(set(scopes) - SCOPES.keys())
    if unknown or not scopes:
        told = f"There is no scope {unknown[0][:40]!r}." if unknown else "A key needs at least one scope."
        raise refuse("bad_request", f"{told} There are: {', '.join(SCOPES)}.")
    token = PREFIX + new_token()
    hashed = hash_token(token)
    return ApiKey(id=f"key-{hashed[:12]}", name=name, token_hash=hashed, scopes=frozenset(scopes), created_at=now_at), token


def is_key_id(text: str) -> bool:
    return re.fullmatch(r"key-[0-9a-f]{12}", text) is not None
