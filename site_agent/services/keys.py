"""The site's signing keys and the keys it believes (pass-1): told and learned by hello, kept in the books, changed by a person's word.

A new key is told to the hub in every hello and used once the hub has said that it knows it (a facility on its own uses it at once); the old one ends
with the last booking that stands. Not here: reading passes (`checkin`). Invariant: the passes of both keys are believed meanwhile, and nothing that
is heard makes a key believed again that was withdrawn; the hub ends no key of ours.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from shared.errors import Failure
from shared.keys import BadKey, KeyRing, PublicKey, SigningKey, may_seal_to, to_sign_with
from shared.ledger import keychain
from shared.ledger.desk import Desk
from shared.ledger.keychain import TOLD_MAX, Chain, chain_of
from shared.messages import Hello
from shared.runtime import log
from shared.runtime.database import Database, InlineWriter, Tx
from site_agent.store import keys as rows
from site_agent.store import spool

_log = log.get("site_agent.keys")

#: where the command leaves its wishes
SPOOL = "key-errands"


class SiteKeys:
    """`lone`: there is no hub to acknowledge anything. Call `start` once the books are open."""

    def __init__(self, db: Database | InlineWriter, desk: Desk, site_id: str, signing: SigningKey | Chain, *, lone: bool):
        self._db, self._desk, self._site_id, self._lone = db, desk, site_id, lone
        self._chain = chain_of(signing)
        self.ring = KeyRing(self._public(key) for key in self._chain.keys)
        self._acknowledged: set[str] = set()
        self._writing: set[asyncio.Task[None]] = set()

    def _public(self, key: SigningKey) -> PublicKey:
        return key.public("site", self._site_id)

    async def start(self) -> None:
        """Reads what is kept; what a rotation had not come to is gone on with."""
        own = [self._public(key) for key in self._chain.keys]
        known, self._acknowledged = self._db.read(lambda tx: (rows.all_keys(tx), rows.known_to_peer_of(tx, [key.id for key in own])))
        for key in known:
            self._believe(key)
        if self.ring.find(self._chain.in_use.id).withdrawn:  # whoever withdrew it came no further
            self._chain.begin()
            self._chain.finish()
            self._believe(self._public(self._chain.in_use))
            own = [self._public(self._chain.in_use)]
        new = [key for key in own if key.id not in {one.id for one in known}]
        if new:
            await self._db.write(lambda tx: [rows.put_key(tx, key) for key in new])
        await self._go_on()

    # ---- which to sign with
    def to_sign(self) -> SigningKey:
        """The newest that the hub has acknowledged; where it has none, the one in use."""
        return self.acknowledged() or self._chain.in_use

    def acknowledged(self) -> SigningKey | None:
        """The newest that the hub knows; None where it knows none."""
        return to_sign_with(self._chain.keys, self._acknowledged)

    # ---- told and heard
    def told(self) -> tuple[dict[str, str], ...]:
        """What our hello says: our own keys, and those of ours that ended, with their end."""
        own = [self._public(key).id for key in self._chain.keys]
        ended = [key for key in self.ring.keys if key.side == "site" and key.id not in own and (key.not_after or key.withdrawn)]
        return tuple(
            keychain.told(key) for key in [*(self.ring.find(one) for one in own), *ended[: TOLD_MAX - len(own)]] if key is not None
        )

    def known(self) -> tuple[str, ...]:
        """The ids of the hub's keys that we know: it may sign with them."""
        return tuple(key.id for key in self.ring.keys if key.side == "hub" and not key.withdrawn)

    def heard(self, hello: Hello) -> None:
        """Learns from a reply to our nonce: the hub's keys, with their end, and those of the boxes that were here before (loss-4); which of ours it
        knows; what secrets for it are sealed to. A key that is malformed or claimed wrongly is logged, not taken."""
        own, fresh = {key.id for key in self._chain.keys}, []
        for told in hello.keys[: 2 * TOLD_MAX]:
            if told.get("id", "") in own:
                continue
            ours = told.get("side") == "site"
            key = keychain.heard(told, "site" if ours else "hub", self._site_id if ours else "")
            before = self.ring.find(key.id) if key is not None else None
            if key is None:
                _log.warning("keys.malformed")
            elif self._believe(key) and self.ring.find(key.id) != before:
                fresh.append(key.id)
        self._desk.seal_to = may_seal_to(hello.seal, self.ring) or self._desk.seal_to
        news = (own & set(hello.known_keys)) - self._acknowledged
        if fresh or news:
            self._acknowledged |= news
            self._write(fresh, sorted(news))

    def _write(self, fresh: list[str], news: list[str]) -> None:
        def run(tx: Tx) -> None:
            for key in filter(None, map(self.ring.find, fresh)):
                rows.put_key(tx, key)
            rows.known_to_peer(tx, news)

        async def write() -> None:
            await self._db.write(run)
            await self._go_on()

        task = asyncio.get_running_loop().create_task(write())
        self._writing.add(task)
        task.add_done_callback(self._written)

    def _written(self, task: asyncio.Task[None]) -> None:
        self._writing.discard(task)
        if not task.cancelled() and task.exception() is not None and not self._db.failing:
            _log.error("keys.unwritten", error=task.exception())

    def _believe(self, key: PublicKey) -> bool:
        try:
            self.ring = self.ring.add(key)
        except BadKey as error:
            _log.warning("link.bad_key", key=key.id[:16], why=str(error))
            return False
        return True

    # ---- changing our own
    def changing(self) -> bool:
        """A new key waits for the hub's acknowledgement."""
        return self._chain.next is not None

    async def rotate(self) -> None:
        """Another key is told to the hub from the next hello on. Raises Broken."""
        await self._begin()
        await self._go_on()

    async def withdraw_now(self) -> None:
        """Somebody else may have our key: nothing that it signed is believed from here on, here or at the hub."""
        await self._begin()
        await self._end(compromised=True)

    async def _begin(self) -> None:
        coming = self._public(self._chain.begin())
        self._believe(coming)
        await self._db.write(lambda tx: rows.put_key(tx, coming))
        _log.warning("keys.rotation_begun", key=coming.id)

    async def _go_on(self) -> None:
        """When the hub knows the new key the old one ends."""
        coming = self._chain.next
        if coming is not None and (self._lone or coming.id in self._acknowledged):
            await self._end(compromised=False)

    async def _end(self, *, compromised: bool) -> None:
        """In the books before the file: an agent that ends in between finds both keys and goes on from there."""
        old = self._chain.in_use

        def write(tx: Tx) -> PublicKey:
            ended = keychain.end(tx, self.ring, old.id, self._desk.now(), compromised=compromised, by="agent", site_ids=(self._site_id,))
            rows.put_key(tx, ended)
            return ended

        self.ring = self.ring.add(await self._db.write(write))
        if self._chain.in_use is old:  # a hello may have come to the same meanwhile
            self._chain.finish()
            _log.warning("keys.changed", old=old.id, key=self._chain.in_use.id, compromised=compromised)

    async def take_wishes(self, data_dir: Path) -> int:
        """What the command has left: answered, and then taken away, so that one which an end of ours cuts off is done at the next start. Returns how
        many."""
        done = 0
        for path, errand in spool.waiting(data_dir / SPOOL):
            if errand is None or errand.kind != "keys":
                path.unlink(missing_ok=True)
                continue
            answer = b'{"done":true}'
            try:
                await (self.withdraw_now() if errand.role == "withdraw" else self.rotate())
            except Failure as error:
                _log.error("keys.not_changed", error=error)
                answer = b'{"done":false}'
            path.unlink(missing_ok=True)
            spool.answer(path, answer)
            done += 1
        return done
