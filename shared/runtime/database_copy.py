"""Copies of a database file: made from books that go on being written, and looked at afterwards. The rest of the dialect is `database`.

The copy is made through SQLite's online backup interface from a connection that only reads: the file is opened for reading alone, so this
connection can neither write nor checkpoint, and a second process may use it too (SQLite 3.7.0 to 3.51.2 can damage a file that two
connections checkpoint). It holds one read transaction from the first page to the last; without that every commit of the writer would begin
the copy anew, and a busy day's would never end. The writer does not wait meanwhile, its WAL only grows.

Invariant: a copy is the books of one moment, and nothing here changes the books.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import msgspec

from ..errors import Broken, Unavailable

#: a megabyte with SQLite's usual page: between two such steps others have the processor and the disk
PAGES_A_STEP = 256
#: faults named before the check gives up
FAULTS_MAX = 20


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What a database says of itself: `steps` per set of migrations in the order they ran, `rows` per table."""

    steps: dict[str, tuple[str, ...]]
    rows: dict[str, int]


@contextlib.contextmanager
def reading(path: Path, *, resting: bool = False) -> Iterator[sqlite3.Connection]:
    """A connection that cannot write. `resting`: nobody writes the file, so no lock or file beside it is needed."""
    if not path.is_file():
        raise Broken(f"There are no books at {path}.")
    c = sqlite3.connect(f"file:{quote(str(path))}?{'immutable=1' if resting else 'mode=ro'}", uri=True, isolation_level=None, timeout=10)
    try:
        c.execute("PRAGMA query_only=1")
        c.execute("PRAGMA wal_autocheckpoint=0")
        yield c
    except sqlite3.OperationalError as error:  # busy, no room, no such table: the file itself may be sound
        raise Unavailable(f"The books in {path.name} could not be read: {error}.") from None
    except sqlite3.DatabaseError as error:
        raise Broken(f"The books in {path.name} are damaged: {error}.") from None
    finally:
        c.close()


def copy(source: Path, target: Path, between: Callable[[], None] = lambda: None) -> Facts:
    """Writes the books of this moment to `target`, which must not be there, and returns what they say of themselves.

    `between` is called after every megabyte; what it raises ends the copy. Blocks. Unavailable without room, Broken for damaged books.
    """
    with reading(source) as c, contextlib.closing(sqlite3.connect(str(target), isolation_level=None)) as made:
        c.execute("BEGIN")
        found = _facts(c)
        made.execute("PRAGMA synchronous=OFF")  # a scratch file: it is gone after a power cut anyway
        made.execute("PRAGMA journal_mode=OFF")
        c.backup(made, pages=PAGES_A_STEP, progress=lambda *_: between(), sleep=0.01)
        c.execute("ROLLBACK")
    return found


def facts(path: Path) -> Facts:
    """Of a file that nobody writes. Broken where it is no database."""
    with reading(path, resting=True) as c:
        return _facts(c)


def faults(path: Path) -> list[str]:
    """What SQLite's own check finds wrong with a file that nobody writes; empty for a sound one. Reads all of it."""
    try:
        with reading(path, resting=True) as c:
            found = [str(row[0]) for row in c.execute(f"PRAGMA integrity_check({FAULTS_MAX})")]
    except (Broken, Unavailable) as error:
        return [error.detail]
    return [] if found == ["ok"] else found


def _facts(c: sqlite3.Connection) -> Facts:
    tables = [row[0] for row in c.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name")]
    steps: dict[str, tuple[str, ...]] = {}
    if "_sqlite_migrations" in tables:
        for owner, step in c.execute("SELECT migration_set, name FROM _sqlite_migrations ORDER BY migration_set, name"):
            steps[owner] = (*steps.get(owner, ()), step)
    rows = {table: c.execute(f'SELECT COUNT(*) FROM "{table}"').fetchone()[0] for table in tables}
    return Facts(steps=steps, rows=rows)
