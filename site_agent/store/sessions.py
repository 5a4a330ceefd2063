"""Rows of staff sessions, known by the hash of their cookie only (`runtime.sessions` judges them)."""

from __future__ import annotations

from shared.runtime.database import Database, InlineWriter, Tx
from shared.runtime.sessions import Session

_COLUMNS = ", ".join(Session.__struct_fields__)


class SessionRows:
    """The `SessionStore` of a site, in its database, so that a restart signs nobody out."""

    def __init__(self, db: Database | InlineWriter):
        self._db = db

    async def create(self, session: Session) -> None:
        values = {name: getattr(session, name) for name in Session.__struct_fields__}
        marks = ", ".join(f":{name}" for name in values)
        await self._db.write(lambda tx: tx.run(f"INSERT INTO sessions ({_COLUMNS}) VALUES ({marks})", values))

    async def get(self, key_hash: str) -> Session | None:
        row = self._db.read(lambda tx: tx.one(f"SELECT {_COLUMNS} FROM sessions WHERE key_hash = :k", {"k": key_hash}))
        return Session(**dict(zip(Session.__struct_fields__, row, strict=True))) if row else None

    async def touch(self, key_hash: str, seen_at: int) -> None:
        await self._db.write(lambda tx: tx.run("UPDATE sessions SET seen_at = :at WHERE key_hash = :k", {"at": seen_at, "k": key_hash}))

    async def end(self, key_hash: str) -> None:
        await self._db.write(lambda tx: tx.run("DELETE FROM sessions WHERE key_hash = :k", {"k": key_hash}))

    async def end_all(self, kind: str, subject: str) -> int:
        return await self._db.write(lambda tx: end_all(tx, kind, subject))

    async def purge(self, *, ended_before: int, seen_before: int) -> int:
        where = "DELETE FROM sessions WHERE ends_at < :e OR seen_at < :s"
        return await self._db.write(lambda tx: tx.run(where, {"e": ended_before, "s": seen_before}))


def end_all(tx: Tx, kind: str, subject: str) -> int:
    """Ends every session of the subject, in somebody else's transaction."""
    return tx.run("DELETE FROM sessions WHERE kind = :k AND subject = :s", {"k": kind, "s": subject})
