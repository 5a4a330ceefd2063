"""Admins' way in to the hub's own pages: an API key with the scope `admin`, typed once, and a session after it.

Not here: cookies (web), what an admin then does. Invariant: neither a key nor a session's token is kept or logged, only hashes; whether the key
still stands and has the scope is asked at every request, so that a revoked key opens nothing from the commit on.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from shared.errors import refuse
from shared.ledger import records
from shared.ledger.desk import Desk
from shared.runtime import log
from shared.runtime.database import Database, InlineWriter, Tx
from shared.runtime.passwords import LockOut, hash_token, new_token

from ..store import admin_sessions as rows
from .api_keys import ADMIN, ApiKeys

SESSION_S = 12 * 3600
#: wrong keys from one address within the window
TRIES_MAX = 10
TRIES_WINDOW_S = 900

_log = log.get("hub.admins")


class Admin(msgspec.Struct, frozen=True):
    """Who is signed in: the API key and what it is called."""

    key_id: str
    name: str

    @property
    def signed(self) -> str:
        """As the journal names whoever did something."""
        return f"{self.name} ({self.key_id})"


class Admins:
    """`wrong_key` is called for each key that is refused."""

    def __init__(self, db: Database | InlineWriter, desk: Desk, keys: ApiKeys, wrong_key: Callable[[], None] = lambda: None):
        self._db, self._desk, self._keys, self._wrong_key = db, desk, keys, wrong_key
        self._wrong = LockOut(tries_max=TRIES_MAX, window_s=TRIES_WINDOW_S)

    async def sign_in(self, key: str, address: str) -> str:
        """The token of a new session. Refuses `wrong_credentials`, `not_allowed` (a key without the scope), `too_many_tries`.

        A right key is taken whatever came from its address before: it cannot be guessed, and an office has one address.
        """
        found, now = self._keys.find(key.strip()), self._desk.now()
        if found is None:
            self._refuse(address, now)
        if ADMIN not in found.scopes:
            raise refuse("not_allowed", f"This key does not open these pages: it lacks the scope {ADMIN}.")
        admin, token = Admin(found.id, found.name), new_token()

        def begin(tx: Tx) -> None:
            rows.begin(tx, hash_token(token), admin.key_id, now, now + SESSION_S)
            records.journal(tx, now, "", admin.signed, "signed in", admin.key_id)

        await self._db.write(begin)
        return token

    def _refuse(self, address: str, now: int) -> None:
        self._wrong_key()
        wait_s = self._wrong.wait_s((address,), now)
        if wait_s:
            minutes = -(-wait_s // 60)
            told = f"Too many wrong keys came from your address. Please try again in {minutes} minute{'s' * (minutes > 1)}."
            raise refuse("too_many_tries", told, retry_after_s=wait_s)
        self._wrong.failed((address,), now)
        _log.warning("admin.sign_in_refused")
        raise refuse("wrong_credentials", "This key is not known here, or has been revoked.")

    def of(self, token: str) -> Admin | None:
        """Whose session this token is; None where it is nobody's, is over, or its key no longer opens these pages."""
        if not token:
            return None
        now = self._desk.now()
        key_id = self._db.read(lambda tx: rows.holder(tx, hash_token(token), now))
        key = self._keys.living(key_id) if key_id else None
        return Admin(key.id, key.name) if key is not None and ADMIN in key.scopes else None

    async def sign_out(self, token: str, admin: Admin) -> None:
        now = self._desk.now()

        def end(tx: Tx) -> None:
            if rows.end(tx, hash_token(token)):
                records.journal(tx, now, "", admin.signed, "signed out", admin.key_id)

        await self._db.write(end)
