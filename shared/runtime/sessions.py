"""Who is signed in: sessions kept on the server, known to the browser only by a random cookie value.

What it is for: `Sessions` starts, finds and ends sessions over a `SessionStore`; the store is rows and nothing else.
What it is not: accounts or permissions; `subject` and `kind` mean what the app says.
Invariant: the store never sees a cookie value, only its SHA-256; a session ends at its absolute end or when idle too long,
whichever is first, judged by the clock handed in.
"""

from collections.abc import Callable
from typing import Protocol

import msgspec

from shared.errors import Failure
from shared.runtime.passwords import hash_token, new_token

TOUCH_EVERY_S = 60  # seconds; a write for every page view would cost a flush each


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """`key_hash`: SHA-256 hex of the cookie value. `kind` e.g. "staff"; `subject`: the id signed in. Times in UTC unix seconds."""

    key_hash: str
    kind: str
    subject: str
    created_at: int
    seen_at: int
    ends_at: int


class SessionStore(Protocol):
    """Rows of sessions, by key_hash. Nothing here judges expiry."""

    async def create(self, session: Session) -> None: ...

    async def get(self, key_hash: str) -> Session | None: ...

    async def touch(self, key_hash: str, seen_at: int) -> None: ...

    async def end(self, key_hash: str) -> None: ...

    async def end_all(self, kind: str, subject: str) -> int:
        """End every session of the subject (password changed, staff removed); how many there were."""
        ...

    async def purge(self, *, ended_before: int, seen_before: int) -> int:
        """Delete rows whose `ends_at` or `seen_at` lies before; how many."""
        ...


class MemorySessionStore:
    """Sessions in a dictionary: for tests and for processes that may forget."""

    def __init__(self) -> None:
        self._rows: dict[str, Session] = {}

    async def create(self, session: Session) -> None:
        self._rows[session.key_hash] = session

    async def get(self, key_hash: str) -> Session | None:
        return self._rows.get(key_hash)

    async def touch(self, key_hash: str, seen_at: int) -> None:
        if key_hash in self._rows:
            self._rows[key_hash] = msgspec.structs.replace(self._rows[key_hash], seen_at=seen_at)

    async def end(self, key_hash: str) -> None:
        self._rows.pop(key_hash, None)

    async def end_all(self, kind: str, subject: str) -> int:
        return self._drop(lambda row: row.kind == kind and row.subject == subject)

    async def purge(self, *, ended_before: int, seen_before: int) -> int:
        return self._drop(lambda row: row.ends_at < ended_before or row.seen_at < seen_before)

    def _drop(self, judge: Callable[[Session], bool]) -> int:
        gone = [key for key, row in self._rows.items() if judge(row)]
        for key in gone:
            del self._rows[key]
        return len(gone)


class Sessions:
    """`now`: UTC seconds (e.g. `clock.now`). `idle_s` without a request or `absolute_s` since sign-in end a session."""

    def __init__(self, store: SessionStore, now: Callable[[], float], *, idle_s: int = 8 * 3600, absolute_s: int = 24 * 3600) -> None:
        self._store = store
        self._now = now
        self._idle_s = idle_s
        self._absolute_s = absolute_s

    async def start(self, kind: str, subject: str) -> str:
        """A new session; the answer is the cookie value. Always new at sign-in, so a planted one is worth nothing."""
        token, now = new_token(), int(self._now())
        row = Session(key_hash=hash_token(token), kind=kind, subject=subject, created_at=now, seen_at=now, ends_at=now + self._absolute_s)
        await self._store.create(row)
        return token

    async def find(self, cookie_value: str) -> Session | None:
        """The living session of the cookie value; notes that it was seen. An expired one is ended here."""
        if not cookie_value:
            return None
        row = await self._store.get(hash_token(cookie_value))
        if row is None:
            return None
        now = int(self._now())
        if now >= row.ends_at or now - row.seen_at >= self._idle_s:
            await self._store.end(row.key_hash)
            return None
        if now - row.seen_at >= TOUCH_EVERY_S:
            try:
                await self._store.touch(row.key_hash, now)
            except Failure:  # a disk that is full must not sign staff out of the page that tells them of it
                pass
        return row

    async def end(self, cookie_value: str) -> None:
        """Sign out; no matter whether it lives."""
        if cookie_value:
            await self._store.end(hash_token(cookie_value))

    async def end_all(self, kind: str, subject: str) -> int:
        return await self._store.end_all(kind, subject)

    async def purge(self) -> int:
        """Delete what has expired, now and then."""
        now = int(self._now())
        return await self._store.purge(ended_before=now, seen_before=now - self._idle_s)
