"""The steps that bring a file of the books to today's tables.

Not for: the steps themselves (each side's schema). Invariant: each is taken once, whoever starts beside us.
"""

import fcntl
import os
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..errors import Broken
from . import database_disk as disk
from .database_file import connect


def migrate(path: str | Path, name: str, steps: Sequence[Callable[[Any], None]]) -> list[str]:
    """Applies the numbered `steps` that this file has not had yet, once, whoever starts beside us (a lock file is held meanwhile).

    Each step is `step(sqlite_utils.Database)`, recorded in `_sqlite_migrations` under the function's name. Returns the names applied.
    Broken, with a sentence, for a file that is no database or a damaged one; the same or Unavailable where the disk does not let us.
    """
    path = Path(path)
    try:
        return _migrate(path, name, steps)
    except sqlite3.Error as error:
        raise disk.trouble_of(error, path) or error from error
    except OSError as error:
        raise disk.trouble_of_file(error) or error from error


def _migrate(path: Path, name: str, steps: Sequence[Callable[[Any], None]]) -> list[str]:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # People's contacts and PINs lie in it: for its owner only. SQLite gives the files beside it the same rights.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    with open(path.with_name(path.name + ".migrating"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _pending(path, name, steps):
            return []
        from sqlite_utils import Database as UtilsDatabase  # 170 ms and 30 MB that a box with nothing to migrate does not need
        from sqlite_utils.migrations import Migrations

        migrations = Migrations(name)
        for step in steps:
            migrations()(step)
        c = connect(path)
        try:
            db = UtilsDatabase(c)
            before = {m.name for m in migrations.applied(db)}
            migrations.apply(db)
            return [m.name for m in migrations.applied(db) if m.name not in before]
        finally:
            c.close()


def _pending(path: Path, name: str, steps: Sequence[Callable[[Any], None]]) -> bool:
    if not path.exists() or os.path.getsize(path) == 0:
        return True
    c = sqlite3.connect(str(path), timeout=10)
    try:
        done = {r[0] for r in c.execute("SELECT name FROM _sqlite_migrations WHERE migration_set = ?", (name,))}
    except sqlite3.OperationalError as error:
        if disk.trouble_of(error, path) is not None:
            raise
        return True
    except sqlite3.DatabaseError as error:
        raise Broken(f"The books in {path} cannot be read: {error}. Put them back from a backup; nothing was changed.") from None
    finally:
        c.close()
    return any(step.__name__ not in done for step in steps)
