"""One connection to PostgreSQL that speaks the product's SQL, and what its failures mean to a transaction.

Not here: transactions, groups, readers (`runtime.postgres`). The one file that imports psycopg, and only when it is used.
Invariant: what must take a whole transaction back is no `Exception`, so no job can swallow it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from ..errors import Broken, Unavailable
from .postgres_sql import translated

T = TypeVar("T")

#: a process that stops in the middle of a transaction loses it after this, and with it its locks
STUCK_S = 10
CONNECT_S = 3


class Again(BaseException):
    """The transaction met another's lock and must be run again. No `except Exception` of a job may take it for a failure of its own."""


class Gone(BaseException):
    """The connection or the server's means are gone: nothing of this transaction can be relied on."""


class Session:
    """One connection that speaks the product's SQL, as far as `Tx` asks: `execute` and `executemany`."""

    def __init__(self, url: str, *, readonly: bool = False):
        """Raises Unavailable where nobody answers, Broken for a server that does not flush what it commits."""
        psycopg = driver()
        try:
            self.c = psycopg.connect(url, autocommit=True, connect_timeout=CONNECT_S, application_name="clubos-booking")
            _as_sqlite_gives_them(self.c)
            self.c.execute("SET synchronous_commit = on")
            self.c.execute("SET default_transaction_isolation = 'read committed'")
            self.c.execute(f"SET idle_in_transaction_session_timeout = '{STUCK_S}s'")
            if readonly:
                self.c.execute("SET default_transaction_read_only = on")
            flushes = self.c.execute("SHOW fsync").fetchone()
        except psycopg.Error as e:
            raise Unavailable(f"The books on PostgreSQL cannot be reached: {plain(e)}") from None
        if flushes != ("on",):
            self.c.close()
            raise Broken("The PostgreSQL server does not flush what it commits (fsync is off), so it cannot keep the books.")

    @property
    def pid(self) -> int:
        """The server's number of this connection."""
        return self.c.info.backend_pid

    def execute(self, sql: str, params: dict[str, Any] | Sequence[Any] = ()):
        return self._do(lambda: self.c.execute(translated(sql), params))

    def executemany(self, sql: str, rows: Iterable[dict[str, Any] | Sequence[Any]]):
        cursor, rows = self.c.cursor(), list(rows)
        if rows:
            self._do(lambda: cursor.executemany(translated(sql), rows))
        return cursor if rows else _Nothing

    def control(self, sql: str):
        """Statements of this module: several at once, in PostgreSQL's own words, without parameters."""
        return self._do(lambda: self.c.execute(sql, prepare=False))

    def _do(self, act: Callable[[], T]) -> T:
        psycopg = driver()
        try:
            return act()
        except (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure, psycopg.errors.LockNotAvailable) as e:
            raise Again(plain(e)) from e
        except (psycopg.OperationalError, psycopg.InterfaceError) as e:
            raise Gone(plain(e)) from e

    def close(self) -> None:
        self.c.close()


class _Nothing:
    """What `executemany` of no rows has changed."""

    rowcount = 0


def driver():
    """Brought in at the first use: a site has no PostgreSQL and no psycopg."""
    import psycopg

    return psycopg


def plain(e: BaseException) -> str:
    """The first line of what the server said."""
    return (str(e).strip().splitlines() or [type(e).__name__])[0]


def _as_sqlite_gives_them(c) -> None:
    """Whole numbers go as 64 bits, yes and no as 1 and 0, and sums of whole numbers come back as whole numbers."""
    from psycopg.types.numeric import Int8Dumper, NumericLoader

    class YesNo(Int8Dumper):
        def dump(self, obj):
            return b"1" if obj else b"0"

    class Sum(NumericLoader):
        def load(self, data):
            number = super().load(data)
            return int(number) if number == number.to_integral_value() else float(number)

    c.adapters.register_dumper(int, Int8Dumper)
    c.adapters.register_dumper(bool, YesNo)
    c.adapters.register_loader("numeric", Sum)
