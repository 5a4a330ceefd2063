"""The backups of the hub: which books, which key files. All else is `shared/ledger/backups`."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from shared.ledger import schema as ledger
from shared.ledger.backups import Backups
from shared.runtime import config as files
from shared.runtime.backup import open_vault
from shared.runtime.database import Tx

from ..config import Config
from ..store import schema
from ..store.settings import get as setting

#: what signs passes and customers' links; without them those already handed out stop working
KEYS = ("keys/passes.key", "keys/passes.next.key", "keys/customer-links.key", "keys/outage-pins.key", "keys/handed-over.key")


def open_backups(config: Config, now: Callable[[], float], books: str, sure: Callable[[], bool] = lambda: False) -> Backups:
    """The backups as the config wants them; unconfigured without a `[backup]` table. Raises ConfigError for a key file that cannot be read.

    A command does not know whether the clock is to be believed (`sure`), and so it deletes none; the running hub does.
    """
    settings = config.hub.backup
    vault = None
    if settings:

        def secret(file: str, key: str) -> str:
            return files.secret("", file, config.file.parent, key=key)

        vault = open_vault(settings, f"hub-{config.hub.hub_id}", lambda path: files.resolve(path, config.file), secret)
    known = {"ledger": tuple(step.__name__ for step in ledger.STEPS), "hub": tuple(step.__name__ for step in schema.STEPS)}
    return Backups(settings, vault, data_dir=config.data_dir, books=books, keys=KEYS, known=known, now=now, sure=sure, term=_term)


def _term(books: sqlite3.Connection) -> int:
    return int(setting(Tx(books), "term") or 1)
