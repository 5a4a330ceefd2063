"""The backups of one facility's box: which books, which key files, whose clock. All else is `shared/ledger/backups`."""

from __future__ import annotations

from collections.abc import Callable

from shared.ledger import schema as ledger
from shared.ledger.backups import BackupPanel, Backups
from shared.runtime.backup import open_vault
from site_agent.config import Loaded
from site_agent.store import schema

__all__ = ["BackupPanel", "open_backups"]
#: the key that signs passes, and those by which the bays' PCs are known; the others lie in the books or are made anew without harm
KEYS = ("signing.key", "signing.next.key", "bay_agent/*.key")


def open_backups(loaded: Loaded, now: Callable[[], float], books: str, sure: Callable[[], bool] = lambda: False) -> Backups:
    """The backups as the config wants them; unconfigured without a `[backup]` table. Raises ConfigError for a key file that cannot be read.

    A command does not know whether the clock is to be believed (`sure`), and so it deletes none; the running agent does.
    """
    settings, site = loaded.config.backup, loaded.config.site
    vault = open_vault(settings, f"site-{site.id}", loaded.path, loaded.secret) if settings else None
    known = {"ledger": tuple(step.__name__ for step in ledger.STEPS), "site": tuple(step.__name__ for step in schema.STEPS)}
    return Backups(
        settings, vault, data_dir=loaded.data_dir, books=books, keys=KEYS, known=known, now=now, sure=sure, zone=site.zone,
        term=schema.term_of,
    )  # fmt: skip
