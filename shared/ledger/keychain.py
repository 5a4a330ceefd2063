"""The private signing keys of a box: the one in use, and while it is being changed the one that comes next (pass-1); how keys are told in a hello,
and until when the passes of one that is changed may be believed.

Two files, `NAME.key` and `NAME.next.key`, so that a backup names both. Not for: who acknowledged what, which each side keeps in its own rows.
Invariant: there is always a key in use; the next takes its place in one rename, after which the old private half is nowhere any more.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from ..errors import Broken
from ..keys import KeyRing, PublicKey, SigningKey
from ..model import Side
from ..runtime.database import Tx
from ..runtime.folder_flush import flush_folder
from ..runtime.keyfile import load_or_create
from . import records

#: quotes and what else is signed for less than a day
SHORT_S = 86_400
#: as many keys of one side does a hello tell of
TOLD_MAX = 16


def next_path(path: Path) -> Path:
    return path.with_name(f"{path.stem}.next{path.suffix}")


class KeyChain:
    """`path`: the file of the key in use, made if it is not there. Raises Broken as `keyfile` does."""

    def __init__(self, path: Path):
        self._path = path
        self.in_use = SigningKey.from_seed(load_or_create(path))
        coming = next_path(path)
        self.next: SigningKey | None = SigningKey.from_seed(load_or_create(coming)) if coming.exists() else None

    @property
    def keys(self) -> tuple[SigningKey, ...]:
        """The newest last."""
        return (self.in_use, self.next) if self.next is not None else (self.in_use,)

    def begin(self) -> SigningKey:
        """Makes the key that comes next; the one that is coming already, where there is one."""
        if self.next is None:
            self.next = SigningKey.from_seed(load_or_create(next_path(self._path)))
        return self.next

    def finish(self) -> None:
        """The next takes the place of the one in use. Nothing to do where none is coming."""
        if self.next is None:
            return
        try:
            os.replace(next_path(self._path), self._path)
            flush_folder(self._path.parent)
        except OSError as error:
            raise Broken(f"The key file {self._path} cannot be replaced: {error.strerror}.") from error
        self.in_use, self.next = self.next, None


class OneKey:
    """A chain of one key that never changes, for a box without files."""

    def __init__(self, key: SigningKey):
        self.in_use, self.next = key, None

    @property
    def keys(self) -> tuple[SigningKey, ...]:
        return (self.in_use,)

    def begin(self) -> SigningKey:
        raise Broken("The key of this box is not kept in a file, so it cannot be changed.")

    def finish(self) -> None:
        return None


Chain = KeyChain | OneKey


def chain_of(key: SigningKey | Chain) -> Chain:
    return OneKey(key) if isinstance(key, SigningKey) else key


def believed_until(tx: Tx, now: int) -> int:
    """Until when what a key has signed that is changed now may end (unix seconds): the end of the last booking that stands, whose guest may carry a
    pass of it."""
    row = tx.one("SELECT MAX(past) FROM bookings WHERE status IN ('confirmed', 'cancelling', 'requested', 'pending')")
    return max((row[0] or 0) * 900, now + SHORT_S)


def end(tx: Tx, ring: KeyRing, key_id: str, now: int, *, compromised: bool, by: str, site_ids: Iterable[str]) -> PublicKey:
    """The key of ours that was in use, as it is from now on: believed for what it has signed already, or for nothing where somebody else may have
    it. Journalled for each of the sites; the row is the side's own to write, in the same transaction."""
    ended = (ring.withdraw_now(key_id) if compromised else ring.withdraw(key_id, believed_until(tx, now))).find(key_id)
    assert ended is not None
    for site_id in site_ids:
        records.journal(tx, now, site_id, by, "signing key withdrawn" if compromised else "signing key changed", key_id)
    return ended


def told(key: PublicKey) -> dict[str, str]:
    """A key as a hello tells it; its end and its withdrawal are left out where there are none, as before there were any."""
    ended = ({"not_after": str(key.not_after)} if key.not_after else {}) | ({"withdrawn": "1"} if key.withdrawn else {})
    return {"id": key.id, "raw_b64": key.raw_b64, "side": key.side, "site_id": key.site_id} | ended


def heard(one: dict[str, str], side: Side, site_id: str) -> PublicKey | None:
    """A key that a hello tells of. Whose it is is ours to say, by who may speak for whom; None for what is none."""
    try:
        return msgspec.convert({**one, "side": side, "site_id": site_id}, PublicKey, strict=False)
    except msgspec.ValidationError:
        return None
