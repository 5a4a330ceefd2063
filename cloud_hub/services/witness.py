"""The hub's second machine: hands it every row that no site has yet, says how that goes, and takes lost sales back from it (loss-3, loss-7).

Not here: what may be said of a sale (`shared.ledger.secured`), nor the wire (`vendors`). Invariant: a row counts as held only after the
witness has answered for it; a witness that is away delays the word "confirmed", never a sale.
"""

from __future__ import annotations

import asyncio

import msgspec

from shared.errors import Failure
from shared.ledger import secured, streams
from shared.ledger.desk import Desk
from shared.ledger.secured import Kept, Loss
from shared.runtime import log
from shared.runtime.database import Database, Event, InlineWriter

from ..ports import Witness, WitnessRow

_log = log.get("hub.witness")
#: after a failure it is tried again so much later
AGAIN_S = 2.0
#: how often the witness is told what it may let go, when there is nothing to keep
SETTLE_EVERY_S = 600.0


class SecondMachine(msgspec.Struct, frozen=True, kw_only=True):
    """For /health and the dashboard. `state`: `none` (allowed to do without), `held`, or `away` with the sentence in `trouble`.

    `possible_loss`: site -> sales that only this machine holds, and since when.
    """

    state: str
    trouble: str
    possible_loss: dict[str, Loss]

    @property
    def sales(self) -> int:
        return sum(loss.sales for loss in self.possible_loss.values())

    @property
    def since_at(self) -> int:
        return min((loss.since_at for loss in self.possible_loss.values() if loss.sales), default=0)


class Witnessing:
    """`witness` None: the hub does without, and shows its possible loss."""

    def __init__(self, db: Database | InlineWriter, desk: Desk, witness: Witness | None):
        self._db, self._desk, self._witness = db, desk, witness
        desk.second_machine = witness is not None
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._settled: dict[str, tuple[str, int]] = {}
        self.trouble = ""
        self.regained = 0

    async def start(self) -> None:
        if self._witness is not None:
            self._db.listen(self._committed)
            self._task = asyncio.create_task(self._go_on(self._witness))

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        if self._witness is not None:
            await self._witness.close()

    def state(self) -> SecondMachine:
        loss = self._db.read(lambda tx: {site_id: secured.possible_loss(tx, site_id) for site_id in streams.sites(tx)})
        state = "none" if self._witness is None else "away" if self.trouble else "held"
        return SecondMachine(state=state, trouble=self.trouble, possible_loss=loss)

    def loss(self, site_id: str) -> Loss:
        return self._db.read(lambda tx: secured.possible_loss(tx, site_id))

    # ---- the task
    def _committed(self, events: list[Event]) -> None:
        if any(topic == "outbox" for topic, _ in events):
            self._wake.set()

    async def _go_on(self, witness: Witness) -> None:
        back = False
        while True:
            try:
                if not back:
                    await self._take_back(witness)
                    back = True
                await self._hand_over(witness)
                self._note("")
            except Failure as failure:
                self._note(failure.detail)
                await asyncio.sleep(AGAIN_S)
                continue
            except Exception:  # nothing that happens to one batch may end this for good
                _log.exception("witness.failed")
                self._note("Handing sales to the second machine failed in an unexpected way; the log says how.")
                await asyncio.sleep(AGAIN_S)
                continue
            await self._until_woken()

    async def _until_woken(self) -> None:
        try:
            async with asyncio.timeout(SETTLE_EVERY_S):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _hand_over(self, witness: Witness) -> None:
        """Everything that is not held yet, batch by batch, in order."""
        self._wake.clear()
        for site_id in self._db.read(streams.sites):
            while rows := self._db.read(lambda tx, s=site_id: secured.to_keep(tx, s)):
                await witness.keep([WitnessRow(*msgspec.structs.astuple(row)) for row in rows], {})
                await self._db.write(lambda tx, r=rows: secured.has_kept(tx, r))
        settled = self._db.read(secured.settled)
        if settled != self._settled:
            await witness.keep([], settled)
            self._settled = settled

    async def _take_back(self, witness: Witness) -> None:
        """Once after every start: what it kept and our books have lost (they were restored or rebuilt) comes back."""
        rows = [Kept(*msgspec.structs.astuple(row)) for row in await witness.kept()]
        if not rows:
            return
        self.regained = await self._db.write(lambda tx: secured.regain(tx, self._desk, rows))
        if self.regained:
            _log.warning("witness.regained", sales=self.regained)

    def _note(self, trouble: str) -> None:
        """Logged when it goes away and when it comes back, not in between."""
        if bool(trouble) != bool(self.trouble):
            (_log.warning if trouble else _log.info)("witness.away" if trouble else "witness.back", why=trouble)
        self.trouble = trouble
