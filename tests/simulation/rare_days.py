"""Days on which something happens that hardly ever does: a second hub, another's hub, an older release, spoilt rows, a repair that is cut off, a
thief at the door.

As `themes`, which gives them their seeds. Not here: what an action does (`troubles`, `visitors`). Invariant: a promise must be kept on
these days as on any other; where a disk spoils rows, from when the watch has looked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.simulation.crowds import FAR, FAR_SLOTS, HUB_HOWS, SITE_HOWS, come, cut, spot

if TYPE_CHECKING:
    from tests.simulation.schedule import Drawing


def worn(d: Drawing) -> None:
    """A disk loses claims, or how a line was raised; the watch stops the bay, and people come before anybody has looked."""
    rng, site, t = d.rng, d.site(), d.rng.uniform(20, 24)
    if rng.random() < 0.5:
        _lost_line(d, site)
        return
    d.passes.append((t + 1, 6 * 3600 + 600))
    d.add(t + 1, "pass", s=6 * 3600 + 600)
    at_hub = rng.random() < 0.5
    who = {"bays": (2,), "hours": range(14, 20), "hows": HUB_HOWS} if at_hub else {"bays": (FAR,), "hours": range(4, 12)}
    come(d, site, 4, t - 2, 10, base=t + 2, **who)
    d.add(t, "spoil", machine="hub" if at_hub else site, site=site, bay=who["bays"][0])
    come(d, site, t + 64, t + 86, 12, base=t + 2, **who)
    d.add(t + 89, "look_at_halts")


def _lost_line(d: Drawing, site: str) -> None:
    """Somebody buys across the furthest line, which rises for it, and the hub's disk forgets that it did."""
    rng, t = d.rng, d.rng.uniform(8, 14)
    line = 2 * ((int(d.wall(t) // 900) + FAR_SLOTS) // 2)
    d.add(t, "book", site=site, how=rng.choice(HUB_HOWS), start=line - 2, slots=4, who=rng.randrange(4000), bays=[FAR])
    d.add(t + 4, "spoil_line", site=site, bay=FAR, slots=rng.choice((4, 6)))
    come(d, site, t + 20, t + 40, 8, bays=(FAR,), hours=range(46, 50), base=t, hows=(*SITE_HOWS, *HUB_HOWS))
    d.add(t + 44, "look_at_halts")
    come(d, site, t + 60, t + 80, 12, bays=(FAR,), hours=range(46, 50), base=t, hows=(*SITE_HOWS, *HUB_HOWS))


def strangers(d: Drawing) -> None:
    """A hub of another id is tried out on the same broker, and sells whatever it can get."""
    rng, site, t = d.rng, d.site(), d.rng.uniform(10, 16)
    d.single = True
    for s in d.sites:
        come(d, s, 3, t, 6, bays=tuple(range(1, d.bays + 1)), hours=range(2, 8), hows=(*SITE_HOWS, *HUB_HOWS))
    d.add(t, "another_hub")
    d.add(t + rng.uniform(50, 70), "another_hub_off")
    if rng.random() < 0.5:  # it hears what the site tells in a repair
        copy = d.add(t + rng.uniform(6, 16), "backup", machine=site)
        d.add(t + rng.uniform(18, 26), "restore", machine=site, of=copy)
    for _ in range(40):
        at = rng.uniform(t + 4, t + 70)
        what = {"site": site, "start": spot(d, t, rng.randint(4, 14)), "slots": 4, "who": rng.randrange(4000)}
        if rng.random() < 0.4:
            d.add(at, "book_at", **what, hub="other", bay=rng.choice((2, 3)))
        else:
            d.add(at, "book", **what, how=rng.choice((*HUB_HOWS, "kiosk")), bays=[rng.choice((2, 3))])


def failover(d: Drawing) -> None:
    """The hub is cut off from its broker and believed lost. Another takes its place, and the old one sells on until somebody finds it."""
    rng, t = d.rng, d.rng.uniform(14, 20)
    d.single = True
    bays, hours = (2, 3), range(4, 9)
    for s in d.sites:
        come(d, s, 3, t, 8, bays=(FAR, 2, 3, 4), hours=range(2, 12), hows=(*SITE_HOWS, *HUB_HOWS))
    copy = d.add(t - rng.uniform(1, 6), "backup", machine="hub")
    d.add(t, "hub_fails_over", of=copy if rng.random() < 0.5 else -1)
    off = t + rng.uniform(40, 50)
    for _ in range(60):
        at = rng.uniform(t + 1, off + 30)
        what = {"site": rng.choice(d.sites), "start": spot(d, t, rng.choice(hours)), "slots": 4, "who": rng.randrange(4000)}
        if at < off and rng.random() < 0.4:
            d.add(at, "book_at", **what, hub="hub", bay=rng.choice(bays))
        else:
            d.add(at, "book", **what, how=rng.choice((*HUB_HOWS, *HUB_HOWS, *SITE_HOWS)), bays=[rng.choice(bays)])
    d.add(off, "old_hub_off")


def releases(d: Drawing) -> None:
    """A site goes back to the release before while its hub already says what only the later one understands; then it gets that one."""
    rng, site = d.rng, d.site()
    d.single = True
    come(d, site, 3, 9, 6, bays=(FAR, 2, 3), hours=range(1, 8), hows=(*SITE_HOWS, *HUB_HOWS))
    d.add(10, "older_release", site=site)
    bays, hours = tuple(range(2, d.bays + 1)), range(3, 6)
    come(d, site, 12, 28, 14, bays=bays, hours=hours, base=12, hows=HUB_HOWS)
    for at in range(32, 62, 5):
        d.passes.append((at, 1800))
        d.add(at, "pass", s=1800)
    come(d, site, 40, 72, 30, bays=bays, hours=hours, base=12, hows=(*SITE_HOWS, "web"))
    d.add(rng.uniform(76, 84), "upgrade", site=site)
    come(d, site, 90, 110, 14, bays=bays, hours=range(2, 10), hows=(*SITE_HOWS, *HUB_HOWS))


def owed(d: Drawing) -> None:
    """A site comes back from a copy that still seats whom the hub has cancelled; they come all the same, while their bays are wanted."""
    rng, site, t = d.rng, d.site(), d.rng.uniform(20, 24)
    d.single = True
    copy, tickets = None, []
    for bay in range(2, d.bays + 1):
        for hour in (6, 7, 8, 9):
            what = {"site": site, "start": spot(d, t, hour), "slots": 4, "bays": [bay]}
            no = d.add(rng.uniform(3, 8), "book", **what, how=rng.choice(HUB_HOWS), who=rng.randrange(4000))
            tickets.append((no, what))
    copy = d.add(11, "backup", machine=site)
    for no, _ in tickets:
        d.add(rng.uniform(12, 17), "cancel", of=no, how="web")
    d.add(t, "restore", machine=site, of=copy)
    d.add(t + 0.1, "cut_repair", site=site, s=rng.uniform(4, 9))
    for no, what in tickets:
        for _ in range(6):
            at = t + rng.uniform(0.5, 18)
            d.add(at, "check_in", of=no, how="staff")
            d.add(at + rng.uniform(0.1, 3), "book", **what, how=rng.choice(HUB_HOWS), who=rng.randrange(4000))


def reader(d: Drawing) -> None:
    """The doors have a reader: guests whom a cut site has not heard of type their PIN, and so does somebody who is no guest at all."""
    rng, site = d.rng, d.site()
    d.readers = d.single = True
    d.add(34, "read_pins", site=site)
    for n in range(8):
        at = 37 + 2.5 * n
        d.passes.append((at, 1200))
        d.add(at, "pass", s=1200)
        d.add(at - 0.2, "try_pins", site=site)
    bays, t = tuple(range(2, d.bays + 1)), 60.0
    cut(d, site, t, t + 15)
    sold = []
    for bay in bays:
        for hour in (2, 3, 4):
            what = {"site": site, "start": spot(d, t, hour), "slots": 4, "bays": [bay]}
            sold.append((d.add(t + rng.uniform(12.2, 14.6), "book", **what, how="web", who=rng.randrange(4000)), what))
    cut(d, site, t + 27, 116)
    for no, what in sold:
        if rng.random() < 0.5:
            d.add(t + rng.uniform(17, 22), "cancel", of=no, how="web")
            again = d.add(t + rng.uniform(38.2, 40), "book", **what, how="web", who=rng.randrange(4000))
            sold.append((again, what))
    for n in range(14):
        at = t + 41 + n
        d.passes.append((at, 1200))
        d.add(at, "pass", s=1200)
    d.passes.sort()
    for no, what in sold:
        when = d.moment(what["start"] * 900 + rng.uniform(-600, 900))
        if when is not None:
            d.add(when, "at_door", of=no)
