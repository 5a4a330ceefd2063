"""What the machine can do right now, so that a bar can be read against it.

`flush` and `echo` are the two factors by which absolute bars are scaled: 0.26 ms and 0.094 ms on the machine the bars were set on.
"""

from __future__ import annotations

import os
import socket
import sqlite3
import statistics
import tempfile
import threading
import time
from pathlib import Path

FLUSH_MS, ECHO_MS = 0.26, 0.094


def flush_ms(folder: Path, rounds: int = 300) -> float:
    """Median of a 4 KiB append with fdatasync."""
    with tempfile.NamedTemporaryFile(dir=folder) as f:
        block, took = b"x" * 4096, []
        for _ in range(rounds):
            at = time.perf_counter()
            os.write(f.fileno(), block)
            os.fdatasync(f.fileno())
            took.append(time.perf_counter() - at)
    return statistics.median(took) * 1000


def commit_ms(folder: Path, rounds: int = 300) -> float:
    """Median of one raw durable SQLite commit of one small row (WAL, synchronous=FULL)."""
    with tempfile.TemporaryDirectory(dir=folder) as d:
        c = sqlite3.connect(Path(d) / "floor.sqlite", isolation_level=None)
        c.execute("PRAGMA journal_mode=WAL")
        c.execute("PRAGMA synchronous=FULL")
        c.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, body TEXT)")
        took = []
        for i in range(rounds):
            at = time.perf_counter()
            c.execute("INSERT INTO t VALUES (?, ?)", (i, "x" * 200))
            took.append(time.perf_counter() - at)
        c.close()
    return statistics.median(took) * 1000


def echo_ms(rounds: int = 500) -> float:
    """Median of a 200 byte echo between two threads over loopback TCP without Nagle."""
    server = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        c, _ = server.accept()
        c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with c:
            while data := c.recv(200):
                c.sendall(data)

    threading.Thread(target=answer, daemon=True).start()
    took = []
    with socket.create_connection(server.getsockname()) as c:
        c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(rounds):
            at = time.perf_counter()
            c.sendall(b"x" * 200)
            left = 200
            while left:
                left -= len(c.recv(left))
            took.append(time.perf_counter() - at)
    server.close()
    return statistics.median(took) * 1000
