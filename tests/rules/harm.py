"""Scenarios and their harm: the same story told with a guard standing, which passes, and without it, where the harm must be seen.

A scenario is registered under the guard it is about; `tests/rules/test_twins.py` tells each one both ways.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from shared.errors import Refused
from tests.two_sides import World, play


class Harm(AssertionError):
    """What the guard is there to keep away has happened."""


class Scenario(NamedTuple):
    """`rule` and `guard` as in the protocol and in `desk.GUARDS`; `settings` go to the world."""

    name: str
    rule: str
    guard: str
    script: Callable[[World], Awaitable[None]]
    settings: dict[str, Any]

    def run(self, without: frozenset[str] = frozenset()) -> None:
        """With the guard the two books must be sound and equal afterwards; without it nothing is promised but that the harm is seen."""
        play(self.script, equal=not without and self.settings.get("equal", True), without=without, **self._world())

    def harm(self, without: frozenset[str] = frozenset()) -> str:
        """The harm that is seen, empty where there is none."""
        try:
            self.run(without)
        except Harm as e:
            return str(e)
        return ""

    def _world(self) -> dict[str, Any]:
        return {k: v for k, v in self.settings.items() if k != "equal"}


SCENARIOS: dict[str, Scenario] = {}


def scenario(*, rule: str, guard: str, **settings: Any):
    """Registers `async def story(w: World)` as the twin of a guard. `equal=False`: the story ends with a link that stands still."""

    def register(script: Callable[[World], Awaitable[None]]) -> Callable[[World], Awaitable[None]]:
        assert guard not in SCENARIOS, f"{guard} has a scenario already"
        SCENARIOS[guard] = Scenario(script.__name__, rule, guard, script, settings)
        return script

    return register


def must(ok: object, harm: str) -> None:
    """Raises Harm, with what went wrong, unless `ok`."""
    if not ok:
        raise Harm(harm)


def refused(act: Callable[[], Any]) -> str:
    """The code with which `act` is refused, empty where it is not."""
    try:
        act()
    except Refused as e:
        return e.refusal.code
    return ""


def displaced(w: World) -> list[str]:
    """Bookings that lack their slots on either side: a guest who was told "confirmed" and has no bay."""
    return sorted({b.id for party in w.parties for s in party.site_ids for b in party.bookings(s).values() if b.displaced})
