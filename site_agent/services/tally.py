"""Counts what people and doors asked of the services while somebody wants it counted: what came of it, and how long it took.

For the report of an outage drill. Not here: what is done with the figures (`outage`). Invariant: every figure is a call that was made; a
service that is counted answers exactly as it would uncounted.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from shared.errors import Failure, Refused


class Why(msgspec.Struct, frozen=True):
    """One reason for a no: its code, how often, and the sentence that was told first."""

    code: str
    count: int
    sentence: str


class Act(msgspec.Struct, frozen=True):
    """One kind of act. `worked`, or `asked` of the booking centre and not yet answered; the rest is in `refused`."""

    what: str
    worked: int = 0
    asked: int = 0
    refused: tuple[Why, ...] = ()


class Counts(msgspec.Struct, frozen=True):
    """Everything since `begin`; `longest_ms` is the slowest answer, of the act `longest_what`."""

    acts: tuple[Act, ...] = ()
    longest_ms: float = 0.0
    longest_what: str = ""


class Tally:
    """`over` is called once, when the services are built; `begin` and `end` by whoever wants figures."""

    def __init__(self, monotonic: Callable[[], float]):
        self._monotonic = monotonic
        self._whats: list[str] = []
        self._acts: dict[str, Act] | None = None
        self._longest = (0.0, "")
        #: rises with everything that is counted
        self.changes = 0

    def over(self, service: object, **methods: str) -> None:
        """Counts calls of the service's methods: `over(bookings, book="sales")`. The service itself is left as it is written."""
        for method, what in methods.items():
            if what not in self._whats:
                self._whats.append(what)
            setattr(service, method, self._counted(getattr(service, method), what))

    def _counted(self, call: Callable[..., Awaitable[Any]], what: str) -> Callable[..., Awaitable[Any]]:
        @functools.wraps(call)
        async def counted(*args: Any, **named: Any) -> Any:
            if self._acts is None:
                return await call(*args, **named)
            begun = self._monotonic()
            try:
                outcome = await call(*args, **named)
            except Refused as no:
                self._refused(what, begun, no.refusal.code, no.refusal.detail)
                raise
            except Failure as failure:
                self._refused(what, begun, "unavailable", failure.detail)
                raise
            except Exception:
                self._refused(what, begun, "error", "Something unexpected happened; the log says what.")
                raise
            self._worked(what, begun, asked=getattr(outcome, "state", "") == "asked" or getattr(outcome, "status", "") == "asked")
            return outcome

        return counted

    # ---- figures
    def begin(self, before: Counts | None = None) -> None:
        """Counts from nothing, or goes on from `before`."""
        self._acts = {what: Act(what) for what in self._whats}
        if before is not None:
            self._acts |= {act.what: act for act in before.acts}
        self._longest = (before.longest_ms, before.longest_what) if before else (0.0, "")

    def so_far(self) -> Counts:
        return Counts(tuple((self._acts or {}).values()), *self._longest)

    def end(self) -> Counts:
        """The figures; nothing is counted any more."""
        told = self.so_far()
        self._acts = None
        return told

    def _worked(self, what: str, begun: float, *, asked: bool) -> None:
        act = self._took(what, begun)
        if act is not None:
            self._acts[what] = msgspec.structs.replace(act, worked=act.worked + (not asked), asked=act.asked + asked)

    def _refused(self, what: str, begun: float, code: str, sentence: str) -> None:
        act = self._took(what, begun)
        if act is None:
            return
        known = {why.code: why for why in act.refused}
        before = known.get(code, Why(code, 0, sentence))
        known[code] = msgspec.structs.replace(before, count=before.count + 1)
        self._acts[what] = msgspec.structs.replace(act, refused=tuple(known.values()))

    def _took(self, what: str, begun: float) -> Act | None:
        """The act to be counted up; None where counting has ended meanwhile."""
        if self._acts is None:
            return None
        self.changes += 1
        took_ms = round((self._monotonic() - begun) * 1000, 1)
        if took_ms >= self._longest[0]:
            self._longest = (took_ms, what)
        return self._acts[what]
