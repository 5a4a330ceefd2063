"""The kind of day on which the hub has two replicas and everything happens where they meet. As `themes`, whose `THEMES` names it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.simulation.crowds import FAR, HUB_HOWS, SITE_HOWS, cut, spot

if TYPE_CHECKING:
    from tests.simulation.schedule import Drawing


def replicas(d: Drawing) -> None:
    """Two replicas of the hub on one database. People ask either, or both at once, for the same few hours of the same bays while the lines
    rise, and change what they have twice in one moment; each replica is killed in the middle of something, again and again."""
    rng, site = d.rng, d.site()
    d.replicas = True
    _in_steps(d, range(10, 84, 8))
    for at in range(6, 100, 3):
        d.add(at + rng.random(), "links")
    for _ in range(100):
        at, bay, hour = rng.uniform(4, 84), rng.choice((2, 2, 3, FAR)), rng.choice((2, 3, 4, 5))
        what = {"site": site, "start": spot(d, at, hour), "slots": 4, "who": rng.randrange(4000)}
        how = rng.choice((*HUB_HOWS, *HUB_HOWS, *SITE_HOWS))
        if how in HUB_HOWS and rng.random() < 0.2:
            held = d.add(at, "hold", **what, how=how, bay=bay)
            no = d.add(at + rng.uniform(0.05, 4), "book", **what, how=how, bays=[bay], hold=held)
            d.add(at + rng.uniform(0.05, 4), rng.choice(("prolong", "drop")), of=held)
        elif how in HUB_HOWS and rng.random() < 0.2:
            no = d.add(at, "book", **what, how=how, bays=[bay, 4])
        else:
            no = d.add(at, "book", **what, how=how, bays=[bay])
        if rng.random() < 0.15:
            d.add(at + rng.uniform(0, 0.3), rng.choice(("again", "reuse")), of=no)
        if rng.random() < 0.6:
            d.add(at + rng.uniform(0, 12), "page", site=site, start=what["start"])
        if rng.random() < 0.5:
            when = at + rng.uniform(0.1, 8)
            for kind in rng.sample(("cancel", "move", "extend"), rng.choice((1, 2, 2))):
                where = {"site": site, "bay": rng.choice((2, 3)), "start": spot(d, at, rng.choice((2, 3, 4, 5))), "slots": 4}
                d.add(when + rng.uniform(0, 0.1), kind, of=no, how=rng.choice((*HUB_HOWS, "staff")), **(where if kind == "move" else {}))
    for _ in range(rng.randint(3, 7)):
        d.add(rng.uniform(6, 80), "crash", machine="hub", commits=rng.randint(1, 8), lose_last=False, down_s=rng.uniform(0.1, 5))
    for _ in range(rng.randint(1, 4)):
        at = rng.uniform(6, 70)
        no = d.add(at, "block", site=site, bay=rng.choice((2, 3)), start=spot(d, at, 3), slots=4, how="api")
        d.add(at + rng.uniform(2, 15), "unblock", of=no, how="api")
    if rng.random() < 0.6:
        begin = rng.uniform(20, 55)
        cut(d, site, begin, begin + rng.uniform(4, 20))
    d.add(rng.uniform(2, 40), "weather", name=rng.choice(("fair", "slow", "unruly", "lossy")))


def _in_steps(d: Drawing, moments: range) -> None:
    """The clock goes half an hour on at every one of these moments, and the lines with it."""
    for at in moments:
        at += d.rng.uniform(0, 2)
        d.passes.append((at, 1800))
        d.add(at, "pass", s=1800)
    d.passes.sort()
