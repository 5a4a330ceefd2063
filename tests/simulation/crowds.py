"""People who come for the same few hours of the same bays, which is where one mistake shows: what the days of one kind are drawn with.

Not here: the days (`themes`, `rare_days`). Invariant: all randomness is the drawing's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulation.schedule import Drawing

#: the bay that is released two days ahead; all others two hours (terr-8)
FAR, NEAR_SLOTS, FAR_SLOTS = 1, 8, 192
SITE_HOWS, HUB_HOWS = ("kiosk", "staff"), ("web", "api")


def spot(d: Drawing, at: float, k: int) -> int:
    """The k-th hour that can still be sold at this moment, always the same for everybody who comes about then."""
    return 4 * (int(d.wall(at) // 3600) + 1 + k)


def come(d: Drawing, site: str, begin: float, end: float, n: int, *, bays: tuple[int, ...], hours: range, hows=SITE_HOWS, base: float = 0) -> None:
    """`n` people between two moments, for the same few hours of the same bays. `base`: the moment from which hours count."""
    for _ in range(n):
        at = d.rng.uniform(begin, end)
        start = spot(d, base or at, d.rng.choice(hours))
        d.add(at, "book", site=site, how=d.rng.choice(hows), start=start, slots=4, who=d.rng.randrange(4000), bays=[d.rng.choice(bays)])


def cut(d: Drawing, site: str, begin: float, end: float) -> None:
    d.add(begin, "cut", site=site, way="both", noticed=d.rng.random() < 0.7)
    d.add(end, "heal", site=site)
