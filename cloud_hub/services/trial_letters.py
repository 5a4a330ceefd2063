"""Tests of a text: rows of the kind `test`, each one letter with invented facts to an address that an admin has typed.

They go the way of all letters, so that a test shows the vendor's answer too. Not here: who may send one, and how many (`words_desk`).
Invariant: an address that is not written to gets no test either; a test that came to nothing is over, and nobody's alarm.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from shared.ledger import work
from shared.ledger.work import Work
from shared.ledger.worker import Drop
from shared.outcomes import Misconfigured, Never, Outcome, Taken, Unknown
from shared.runtime.database import Tx

from ..ports import Channel, Letter
from ..store import notifications as kept

KIND = "test"
#: whoever sent one looks for it now, not later
WORTH_S = 3600


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """The body of a row: what it is a test of, and the very letter."""

    event: str
    channel: str
    language: str
    letter: Letter


trial_of = msgspec.json.Decoder(Trial).decode


class Trials:
    """Does the rows of the kind `test`. `channels`: name of the channel -> who sends by it."""

    def __init__(self, channels: Mapping[str, Channel]):
        self._channels = channels

    def judge(self, tx: Tx, row: Work, now: int) -> Letter | Drop:
        if now >= row.created_at + WORTH_S:  # also for one that somebody has tried again
            return Drop("too_late", "Nobody looks for this test any more. Please send another one.")
        trial = trial_of(row.body.encode())
        why = kept.suppressed(tx, trial.channel, trial.letter.to)
        return Drop("suppressed", f"This address is not written to: {why.reason or why.why}") if why is not None else trial.letter

    async def do(self, row: Work, what: Letter) -> Outcome:
        channel = self._channel(row)
        return Misconfigured("No channel of this vendor is configured any more.") if channel is None else await channel.send(what)

    async def find(self, row: Work) -> Taken | None | Unknown | Never:
        channel = self._channel(row)
        if channel is None or not channel.finds:
            return Unknown("Only the vendor's own report can tell whether it was sent.")
        return await channel.find(trial_of(row.body.encode()).letter, row.since_at)

    def _channel(self, row: Work) -> Channel | None:
        return next((one for one in self._channels.values() if one.vendor == row.lane), None)

    def settled(self, tx: Tx, row: Work, outcome: Outcome) -> None:
        """An address that turned out to be dead, or to want nothing, is not written to again. Nobody has to see to a test that failed."""
        if isinstance(outcome, Never) and (outcome.dead_address or outcome.opted_out):
            trial = trial_of(row.body.encode())
            kept.suppress(tx, trial.channel, trial.letter.to, "stop" if outcome.opted_out else "dead", outcome.reason, row.changed_at)
        after = work.one(tx, row.id)
        if after is not None and after.state == "stuck":
            work.end(tx, after, after.changed_at, "dropped", after.code, after.reason)
