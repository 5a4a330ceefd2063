"""A PostgreSQL server of a test's own: made in a temporary folder, reached by a socket in it, gone afterwards.

`Cluster.books()` gives the address of empty books: a schema of their own in one database. `CopiedBooks` can be copied and put back.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg

from shared.runtime.postgres import InlinePostgres

SETTINGS = {
    "listen_addresses": "",
    "fsync": "on",
    "deadlock_timeout": "50ms",
    "max_connections": "60",
    "shared_buffers": "32MB",
    "max_wal_size": "256MB",
}


class Cluster:
    """`programs` is the folder with `initdb` and `postgres`. The server refuses to be root's, so root hands it to another user."""

    def __init__(self, programs: Path):
        self._programs = programs
        self._made = 0
        self.folder = Path(tempfile.mkdtemp(prefix="clubos-pg-"))
        self._as: dict[str, object] = {}
        if os.geteuid() == 0:
            user = next(u for u in ("postgres", "nobody") if _known(u))
            shutil.chown(self.folder, user)
            self._as = {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}
        self._run("initdb", "-D", self.folder / "data", "-U", "clubos", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
        self._server: subprocess.Popen | None = None
        self.start()

    def _run(self, program: str, *args) -> None:
        done = subprocess.run(
            [self._programs / program, *map(str, args)], cwd=self.folder, capture_output=True, text=True, timeout=60, **self._as
        )
        assert done.returncode == 0, done.stderr

    @property
    def url(self) -> str:
        return f"postgresql://clubos@/postgres?host={self.folder}"

    def start(self, **other: str) -> None:
        """Returns when it answers. `other` settings take the place of `SETTINGS`."""
        settings = [part for name, value in (SETTINGS | other).items() for part in ("-c", f"{name}={value}")]
        with open(self.folder / "log", "ab") as log:
            self._server = subprocess.Popen(
                [self._programs / "postgres", "-D", self.folder / "data", "-k", self.folder, *settings],
                cwd=self.folder,
                stdout=log,
                stderr=log,
                **self._as,
            )
        until = time.monotonic() + 30
        while True:
            try:
                psycopg.connect(self.url).close()
                return
            except psycopg.OperationalError:
                assert self._server.poll() is None and time.monotonic() < until, (self.folder / "log").read_text()
                time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT ends every connection at once and in order; SIGQUIT is a crash."""
        self._server.send_signal(how)
        self._server.wait(30)

    def remove(self) -> None:
        if self._server.poll() is None:
            self.stop(signal.SIGQUIT)  # nothing of it is wanted any more
        shutil.rmtree(self.folder)

    def books(self) -> str:
        """The address of books that nobody has used."""
        self._made += 1
        name = f"books_{self._made}"
        with psycopg.connect(self.url, autocommit=True) as c:
            c.execute(f"CREATE SCHEMA {name}")
        return f"{self.url}&options=-csearch_path%3D{name}"


class CopiedBooks(InlinePostgres):
    """Books that a test sets back to what they were."""

    def _tables(self) -> list[str]:
        return [r[0] for r in self.session.c.execute("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()").fetchall()]

    def empty(self) -> None:
        """As they were made: tables without rows, but for which migrations they have had."""
        self.session.c.execute("; ".join(f"DELETE FROM {t}" for t in self._tables() if t != "migrations"), prepare=False)

    def copy(self) -> dict[str, list[tuple]]:
        """Table -> its rows."""
        return {t: self.session.c.execute(f"SELECT * FROM {t}").fetchall() for t in self._tables()}

    def put_back(self, kept: dict[str, list[tuple]]) -> None:
        c = self.session.c
        with c.transaction():
            c.execute(f"TRUNCATE {', '.join(self._tables())}")
            for table, rows in kept.items():
                for row in rows:
                    c.execute(f"INSERT INTO {table} VALUES ({', '.join(['%s'] * len(row))})", row)
            c.execute("SELECT setval(pg_get_serial_sequence('journal', 'no'), (SELECT COALESCE(MAX(no), 0) + 1 FROM journal), false)")


def _known(user: str) -> bool:
    try:
        return bool(pwd.getpwnam(user))
    except KeyError:
        return False
