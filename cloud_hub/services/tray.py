"""The tray of the data folder as services see it: what commands left for the running hub."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from shared.ledger import boxes, repair, streams
from shared.ledger.desk import Desk
from shared.runtime.database import Tx

from ..store import folder
from .api_keys import KeyWish
from .halts import Lift


class Granted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new box of the site may come, with the word of this fingerprint (loss-5)."""

    site_id: str
    word_hash: str


class Vouched(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A person's word that the hub before this one is off and stays off (loss-5)."""

    by: str


class Wish(KeyWish, frozen=True):
    """Everything a command may leave: the change of an API key, or a person's word that the time shown to them (unix seconds) is right, or
    that a stop of sales ends, the id of a site whose outage PINs are void, or that the signing key is changed (`rotate`, `withdraw`)."""

    clock_shown_at: int = 0
    lift: Lift | None = None
    granted: Granted | None = None
    vouched: Vouched | None = None
    void_outage_pins: str = ""
    signing_key: str = ""


class Tray:
    def __init__(self, data_dir: Path):
        self._data_dir = data_dir

    def wishes(self) -> Iterator[tuple[bytes, Callable[[], None]]]:
        """Body and the function that takes it away, oldest first."""
        return folder.wishes(self._data_dir)


def take_words(tx: Tx, desk: Desk, wish: Wish) -> None:
    """Carries out a grant or a person's vouching."""
    if wish.granted is not None:
        boxes.grant(tx, desk, wish.granted.site_id, wish.granted.word_hash)
    if wish.vouched is not None:
        for site_id in streams.sites(tx):
            repair.vouch(tx, desk, site_id, by=wish.vouched.by)
