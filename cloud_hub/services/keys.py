"""The hub's signing keys and the public keys it believes (pass-1): learned by hello, kept in the books.

Invariant: what a site announces is taken as that site's own key and nobody else's; a pass is signed only with a key that its site has said
it knows, because only that one opens its door.
"""

from __future__ import annotations

import msgspec

from shared.keys import BadKey, KeyRing, PublicKey, SigningKey, to_sign_with
from shared.messages import Hello
from shared.runtime import log
from shared.runtime.database import Database, InlineWriter

from ..store import keys as rows

_log = log.get("hub.keys")
ANNOUNCED_MAX = 16


class Keys:
    """`ring` believes our own keys and every site's. Call `load` once the books are open."""

    def __init__(self, db: Database | InlineWriter, mine: tuple[SigningKey, ...]):
        self._db, self._mine = db, mine
        self.ring = KeyRing([key.public("hub") for key in mine])
        self._acknowledged: dict[str, set[str]] = {}

    def load(self) -> None:
        kept, self._acknowledged = self._db.read(lambda tx: (rows.all_keys(tx), rows.acknowledged(tx)))
        self.ring = self.ring.add(*(key for key in kept if key.side == "site"))

    def announced(self, site_id: str) -> tuple[dict[str, str], ...]:
        """What our hello to a site says: our own keys, and those that boxes of this site have signed with, so that a new box honours what
        the one before it had promised (loss-4)."""
        public = [key.public("hub") for key in self._mine]
        public += [key for key in self.ring.keys if key.side == "site" and key.site_id == site_id and not key.withdrawn][:ANNOUNCED_MAX]
        return tuple({"id": key.id, "raw_b64": key.raw_b64, "side": key.side} for key in public)

    def known(self, site_id: str) -> tuple[str, ...]:
        """The ids of this site's keys that we know: our hello says so, and the site may sign with them."""
        return tuple(key.id for key in self.ring.keys if key.side == "site" and key.site_id == site_id)

    def to_sign(self, site_id: str) -> SigningKey | None:
        """The key for a pass of this site; None until the site has acknowledged one."""
        return to_sign_with(self._mine, self._acknowledged.get(site_id, ()))

    @property
    def newest(self) -> SigningKey:
        """For what we ourselves honour (quotes)."""
        return self._mine[-1]

    async def heard(self, site_id: str, hello: Hello, now_at: int) -> None:
        """Learns from a site's reply to our nonce. Writes only what is new."""
        fresh = [key for key in self._announced_by(site_id, hello) if self.ring.find(key.id) != key]
        added = []
        for key in fresh:
            try:
                self.ring = self.ring.add(key)
                added.append(key)
            except BadKey as error:
                _log.warning("keys.refused", site_id=site_id, why=str(error))
        ours = {key.id for key in self._mine}
        told = (ours & set(hello.known_keys)) - self._acknowledged.get(site_id, set())
        if not added and not told:
            return

        def write(tx) -> None:
            for key in added:
                rows.put(tx, key)
            for key_id in told:
                rows.acknowledge(tx, site_id, key_id, now_at)

        await self._db.write(write)
        self._acknowledged.setdefault(site_id, set()).update(told)

    @staticmethod
    def _announced_by(site_id: str, hello: Hello) -> list[PublicKey]:
        """Side and site are ours to say: a site speaks for itself only."""
        found = []
        for told in hello.keys[:ANNOUNCED_MAX]:
            try:
                found.append(msgspec.convert({**told, "side": "site", "site_id": site_id}, PublicKey, strict=False))
            except msgspec.ValidationError:
                _log.warning("keys.malformed", site_id=site_id)
        return found
