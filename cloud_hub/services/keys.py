"""The hub's signing keys and the public keys it believes (pass-1): learned by hello, kept in the books, changed by a person's word.

A new key is told in every hello and used for a site as soon as that site has said that it knows it; when all have, the old one ends with the last
booking that stands, and its private half is gone. Invariant: what a site announces is taken as that site's own key and nobody else's; a pass is
signed only with a key that its site has said it knows, because only that one opens its door.
"""

from __future__ import annotations

from collections.abc import Iterable

from shared.keys import BadKey, KeyRing, PublicKey, SigningKey, sealed_by, to_sign_with
from shared.ledger import keychain
from shared.ledger.keychain import TOLD_MAX, Chain, chain_of
from shared.messages import Hello
from shared.runtime import log
from shared.runtime.database import Database, InlineWriter, Tx
from shared.sealing import SealKey

from ..store import keys as rows

_log = log.get("hub.keys")


class Keys:
    """`ring` believes our own keys and every site's. `sites` are those enrolled here. Call `load` once the books are open."""

    def __init__(self, db: Database | InlineWriter, mine: SigningKey | Chain, seal_key: SealKey | None = None, sites: Iterable[str] = ()):
        self._db, self._chain, self._seal_key, self._sites = db, chain_of(mine), seal_key, tuple(sites)
        self.ring = KeyRing([key.public("hub") for key in self._mine])
        self._acknowledged: dict[str, set[str]] = {}

    @property
    def _mine(self) -> tuple[SigningKey, ...]:
        return self._chain.keys

    def load(self) -> None:
        kept, self._acknowledged = self._db.read(lambda tx: (rows.all_keys(tx), rows.acknowledged(tx)))
        self.ring = self.ring.add(*kept)
        if self.ring.find(self._chain.in_use.id).withdrawn:  # whoever withdrew it came no further
            self._chain.begin()
            self._chain.finish()
            self.ring = self.ring.add(self._chain.in_use.public("hub"))

    def announced(self, site_id: str) -> tuple[dict[str, str], ...]:
        """What our hello to a site says: our own keys, those that ended with their end, and those that boxes of this site have signed with, so
        that a new box honours what the one before it had promised (loss-4)."""
        mine = {key.id for key in self._mine}
        ours = sorted((key for key in self.ring.keys if key.side == "hub"), key=lambda key: key.id not in mine)[:TOLD_MAX]
        theirs = [key for key in self.ring.keys if key.side == "site" and key.site_id == site_id and not key.withdrawn][:TOLD_MAX]
        return tuple(keychain.told(key) for key in (*ours, *theirs))

    def seal(self, site_id: str) -> tuple[str, ...]:
        """What our hello says of the key that secrets for us are sealed to: the key, and the word of a signing key that the site knows."""
        key = self.to_sign(site_id)
        if key is None or self._seal_key is None:
            return ()
        return sealed_by(key, self._seal_key.public)

    def known(self, site_id: str) -> tuple[str, ...]:
        """The ids of this site's keys that we know: our hello says so, and the site may sign with them."""
        return tuple(key.id for key in self.ring.keys if key.side == "site" and key.site_id == site_id and not key.withdrawn)

    def to_sign(self, site_id: str) -> SigningKey | None:
        """The key for a pass of this site; None until the site has acknowledged one."""
        return to_sign_with(self._mine, self._acknowledged.get(site_id, ()))

    @property
    def newest(self) -> SigningKey:
        """For what we ourselves honour (quotes)."""
        return self._mine[-1]

    async def heard(self, site_id: str, hello: Hello, now_at: int) -> None:
        """Learns from a site's reply to our nonce. Writes only what is new."""
        added = []
        for key in self._announced_by(site_id, hello):
            before = self.ring.find(key.id)
            try:
                self.ring = self.ring.add(key)
            except BadKey as error:
                _log.warning("keys.refused", site_id=site_id, why=str(error))
                continue
            known = self.ring.find(key.id)
            if known is not None and known != before:  # an older hello makes nothing less strict, here or in the books
                added.append(known)
        ours = {key.id for key in self._mine}
        told = (ours & set(hello.known_keys)) - self._acknowledged.get(site_id, set())
        if not added and not told:
            return await self.tick(now_at)

        def write(tx) -> None:
            for key in added:
                rows.put(tx, key)
            for key_id in told:
                rows.acknowledge(tx, site_id, key_id, now_at)

        await self._db.write(write)
        self._acknowledged.setdefault(site_id, set()).update(told)
        await self.tick(now_at)

    def _announced_by(self, site_id: str, hello: Hello) -> list[PublicKey]:
        """Side and site are ours to say: a site speaks for itself only."""
        found = []
        for told in hello.keys[:TOLD_MAX]:
            key = keychain.heard(told, "site", site_id)
            if key is None:
                _log.warning("keys.malformed", site_id=site_id)
                continue
            found.append(key)
        return found

    # ---- changing our own
    def changing(self) -> tuple[str, ...]:
        """The sites that have not acknowledged the key that comes next; none where none is coming."""
        if self._chain.next is None:
            return ()
        return tuple(site for site in self._sites if self._chain.next.id not in self._acknowledged.get(site, ()))

    def rotate(self) -> None:
        """Another key is told to the sites from the next hello on. Raises Broken."""
        coming = self._chain.begin()
        self.ring = self.ring.add(coming.public("hub"))
        _log.warning("keys.rotation_begun", key=coming.id)

    async def withdraw_now(self, now_at: int) -> None:
        """Somebody else may have our key: nothing that it signed is believed from here on, and each site's passes wait until it has acknowledged
        the new one."""
        self.rotate()
        await self._end(now_at, compromised=True)

    async def tick(self, now_at: int) -> None:
        """When every site knows the new key the old one ends."""
        if self._chain.next is not None and not self.changing():
            await self._end(now_at, compromised=False)

    async def _end(self, now_at: int, *, compromised: bool) -> None:
        """In the books before the file: a hub that ends in between finds both keys and goes on from there."""
        old = self._chain.in_use

        def write(tx: Tx) -> PublicKey:
            ended = keychain.end(tx, self.ring, old.id, now_at, compromised=compromised, by="hub", site_ids=self._sites)
            rows.put(tx, ended)
            return ended

        self.ring = self.ring.add(await self._db.write(write))
        if self._chain.in_use is old:  # another hello may have come to the same meanwhile
            self._chain.finish()
            _log.warning("keys.changed", old=old.id, key=self._chain.in_use.id, compromised=compromised)
