"""Days of one kind: the same world, people and misfortunes, drawn so that what seldom meets by chance meets often.

A theme lays its hand on the drawing of `schedule`; the seeds of a theme are its own million (`seed_of`), so a number alone names a day and
`make sim SEED=n` plays it. People come for the same few hours of the same bays (`crowds`), which is where one mistake shows. Not here: what
an action does (`people`, `fate`). Invariant: a promise must be kept on these days as on any other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.simulation.crowds import FAR, FAR_SLOTS, HUB_HOWS, NEAR_SLOTS, SITE_HOWS, come, cut, spot
from tests.simulation.rare_days import failover, owed, reader, releases, strangers, worn
from tests.simulation.theme_replicas import replicas

if TYPE_CHECKING:
    from tests.simulation.schedule import Drawing

#: seeds of one theme: the first million are ordinary days
MILLION = 1_000_000


def seed_of(theme: str, n: int) -> int:
    return (tuple(THEMES).index(theme) + 1) * MILLION + n if theme else n


def theme_of(seed: int) -> str:
    """The theme of a seed; empty for an ordinary day."""
    number = seed // MILLION
    return tuple(THEMES)[number - 1] if 0 < number <= len(THEMES) else ""


def disks(d: Drawing) -> None:
    """A crowded day on which a disk is lost or put back."""
    d.ordinary(90, disks=True)


def _set_back(d: Drawing, kind: str) -> None:
    """A site sells and is heard, sells in a cut and is not, and stands then where its copy stood. What comes after depends on how."""
    site, t = d.site(), d.rng.uniform(10, 16)
    begun = len(d.actions)
    come(d, site, t - 6, t - 1, 5, bays=(FAR,), hours=range(4, 12), base=t)
    for no in range(begun, len(d.actions)):  # cancelled and heard, which the copy does not know
        if d.rng.random() < 0.7:
            d.add(t + d.rng.uniform(0.3, 4.5), "cancel", of=no, how="staff")
    copy = d.add(t, "backup", machine=site)
    come(d, site, t + 0.5, t + 5, 8, bays=(FAR,), hours=range(0, 8), base=t)
    cut(d, site, t + 6, t + 15)
    come(d, site, t + 6.5, t + 8, d.rng.randint(2, 8), bays=(FAR,), hours=range(8, 14), base=t)
    if kind == "restore":
        d.add(t + 9, "restore", machine=site, of=copy)
        come(d, site, t + 10.5, t + 14.5, 10, bays=(FAR,), hours=range(0, 14), base=t)
    else:
        d.add(t + 9, "rewind", machine=site, of=copy, mark=kind == "marked")
        again = range(0, 14) if kind == "marked" else range(16, 30)  # without a mark nobody can know, and other hours are sold
        come(d, site, t + 10, t + 14.5, d.rng.randint(4, 16), bays=(FAR,), hours=again, base=t)
    come(d, site, t + 24, t + 45, 16, bays=(FAR,), hours=range(0, 14), base=t)


def restored(d: Drawing) -> None:
    """A site comes back from its backup in a cut, with an operator who says so."""
    _set_back(d, "restore")


def marked(d: Drawing) -> None:
    """An older disk image is put back in a cut and nobody says so; the mark on the other medium does."""
    _set_back(d, "marked")


def rewound(d: Drawing) -> None:
    """The same without a mark: the hub finds out when it hears the site again."""
    _set_back(d, "rewound")


def both(d: Drawing) -> None:
    """Both copies are from before a release, and the site sold in what it was given."""
    site, t = d.site(), d.rng.uniform(8, 12)
    copies = {m: d.add(t, "backup", machine=m) for m in ("hub", site)}
    now = int(d.wall(t) // 900)
    d.add(t + 0.5, "pass", s=7200)
    for bay, first in ((FAR, now + FAR_SLOTS), (FAR, now + FAR_SLOTS + 4), *((bay, now + NEAR_SLOTS + 4) for bay in range(2, d.bays + 1))):
        what = {"site": site, "start": 2 * ((first + 1) // 2), "slots": 4, "bays": [bay]}
        d.add(t + d.rng.uniform(7, 9.5), "book", **what, how=d.rng.choice(SITE_HOWS), who=d.rng.randrange(4000))
        for _ in range(8):
            d.add(t + d.rng.uniform(11.5, 22), "book", **what, how=d.rng.choice(HUB_HOWS), who=d.rng.randrange(4000))
    d.add(t + 10, "restore", machine="hub", of=copies["hub"])
    d.add(t + d.rng.uniform(10.5, 12), "restore", machine=site, of=copies[site])


def old_box(d: Drawing) -> None:
    """A replaced box wakes and goes on selling what it believes to be its own."""
    site, t = d.site(), d.rng.uniform(10, 14)
    come(d, site, 3, t, 6, bays=(FAR, 2), hours=range(0, 6))
    d.add(t, "lose_disk", site=site, returns=True)
    d.add(t + d.rng.uniform(6, 14), "old_box_wakes", site=site)
    come(d, site, t + 6, t + 45, 20, bays=(FAR, 2, 3), hours=range(0, 6), hows=(*SITE_HOWS, *HUB_HOWS))


def dark(d: Drawing) -> None:
    """A cut of many hours over a site where everything is in motion: both sides change the same bookings and sell about the line."""
    rng, site = d.rng, d.site()
    tickets = []
    for _ in range(24):
        at, bay = rng.uniform(4, 18), rng.randint(1, d.bays)
        start = spot(d, at, rng.randint(3, 12))
        how = rng.choice((*HUB_HOWS, *SITE_HOWS))
        tickets.append(d.add(at, "book", site=site, how=how, start=start, slots=4, who=rng.randrange(4000), bays=[bay]))
    t, ends = 22.0, rng.uniform(50, 62)
    cut(d, site, t, ends)
    for _ in range(rng.randint(1, 3)):
        d.add(t + rng.uniform(3, 25), "pass", s=rng.choice((1800, 3600)))
    if rng.random() < 0.7:
        d.add(t + rng.uniform(12, 30), "replay", client="hub", count=40)
    for _ in range(10):
        at, bay, start = rng.uniform(t, ends), rng.randint(2, d.bays), spot(d, t, rng.randint(3, 8))
        what = {"site": site, "start": start, "slots": 4, "who": rng.randrange(4000)}
        d.add(at, "book", **what, how=rng.choice(HUB_HOWS), bays=[bay])
        d.add(rng.uniform(t, ends), "override", **what, bay=bay)
    for of in rng.sample(tickets, 18):
        for how in rng.choice((("web", "staff"), ("web", "web"), ("web",), ("staff",))):
            at = rng.uniform(t, ends + 2)
            if rng.random() < 0.3:
                d.add(at, "cancel", of=of, how=how, first=True)
            else:  # each side onto ground of its own
                bay, hour = (FAR, rng.randint(1, 24)) if how == "staff" else (rng.randint(2, d.bays), rng.randint(5, 24))
                d.add(at, "move", of=of, how=how, site=site, bay=bay, start=spot(d, at, hour), slots=4, first=True)
        if rng.random() < 0.4:
            d.add(rng.uniform(t, ends), "check_in", of=of, how="staff")


def hustle(d: Drawing) -> None:
    """Few bays, many people, and staff who close and open them: whatever is freed is wanted at once."""
    rng, site, blocks = d.rng, d.site(), []
    for _ in range(rng.randint(12, 20)):
        at = rng.uniform(5, 70)
        start = spot(d, 5, rng.randint(1, 5))
        blocks.append((at, d.add(at, "block", site=site, bay=rng.choice((1, 2)), start=start, slots=4, how=rng.choice(("staff", "staff", "api")))))
    for _ in range(90):
        at, start = rng.uniform(4, 85), spot(d, 5, rng.randint(1, 5))
        what = {"site": site, "start": start, "slots": 4, "who": rng.randrange(4000)}
        if rng.random() < 0.12:
            no = d.add(at, "override", **what, bay=rng.choice((1, 2)))
        else:
            no = d.add(at, "book", **what, how=rng.choice(("kiosk", "staff", "staff", "web")), bays=[rng.choice((1, 2))])
        if rng.random() < 0.7:
            d.add(at + rng.uniform(0.5, 15), "cancel", of=no, how=rng.choice(("web", "staff")))
    for at, no in blocks:
        if rng.random() < 0.7:
            d.add(at + rng.uniform(4, 30), "unblock", of=no, how=rng.choice(("staff", "api")))


def strip(d: Drawing) -> None:
    """The clock goes in small steps, the lines with it, and everybody wants what is just about to be released."""
    rng, site = d.rng, d.site()
    for at in range(8, 84, 4):
        at += rng.uniform(0, 2)
        d.passes.append((at, 1800))
        d.add(at, "pass", s=1800)
    d.passes.sort()
    d.add(3, "weather", name=rng.choice(("slow", "late", "late")))
    for _ in range(110):
        at = rng.uniform(5, 88)
        far = rng.random() < 0.3
        line = int(d.wall(at) // 900) + (FAR_SLOTS if far else NEAR_SLOTS)
        start = 2 * ((line + rng.choice((-4, -3, -2, -1, 0, 1, 2))) // 2)
        what = {"site": site, "how": rng.choice(("web", "api", "kiosk", "staff")), "start": start, "slots": rng.choice((4, 4, 8)), "who": rng.randrange(4000)}
        bay = FAR if far else rng.randint(2, d.bays)
        if not far and what["how"] in HUB_HOWS and rng.random() < 0.35:
            d.add(at, "book", **what, bays=rng.sample(range(2, d.bays + 1), 2))
        elif rng.random() < 0.25:
            held = d.add(at, "hold", **what, bay=bay)
            d.add(at + rng.uniform(1, 12), "book", **what, bays=[bay], hold=held)
        else:
            d.add(at, "book", **what, bays=[bay])


def clocks(d: Drawing) -> None:
    """The hub's clock, or a site's, is wrong by minutes or hours for a while."""
    rng = d.rng
    for machine in rng.sample(("hub", *d.sites), 2):
        at = rng.uniform(10, 20)
        d.add(at, "skew", machine=machine, s=rng.choice((-7200, -900, -400, 400, 900, 7200)))
        d.add(at + rng.uniform(20, 40), "skew", machine=machine, s=0)
    for _ in range(rng.randint(2, 4)):
        d.add(rng.uniform(22, 50), "pass", s=rng.choice((900, 1800)))
    for site in d.sites:
        come(d, site, 4, 60, 24, bays=tuple(range(1, d.bays + 1)), hours=range(1, 20), hows=(*SITE_HOWS, "web"))


def witness(d: Drawing) -> None:
    """The hub says "confirmed" only when a second machine has the sale, and loses its disk while a site is dark."""
    rng, site, t = d.rng, d.site(), d.rng.uniform(16, 22)
    d.add(1, "second_machine")
    copy = d.add(t, "backup", machine="hub")
    cut(d, site, t + 1, t + rng.uniform(14, 24))
    for s in d.sites:
        come(d, s, t - 8, t + 9, 14, bays=tuple(range(2, d.bays + 1)), hours=range(4, 16), hows=HUB_HOWS)
    d.add(t + 10, "restore", machine="hub", of=copy)
    come(d, site, t + 26, t + 40, 10, bays=tuple(range(2, d.bays + 1)), hours=range(4, 16), hows=HUB_HOWS)


def rot(d: Drawing) -> None:
    """A disk loses rows, each of a booking that the other side owns, and nobody notices. Comparing the books does (loss-8)."""
    rng = d.rng
    for site in d.sites:
        come(d, site, 4, 24, 24, bays=tuple(range(1, d.bays + 1)), hours=range(4, 20), hows=(*SITE_HOWS, *HUB_HOWS))
        d.add(rng.uniform(26, 30), "rot", machine=rng.choice(("hub", site)), site=site, rows=rng.randint(1, 4))
        cut(d, site, 32, rng.uniform(44, 50))


def overridden(d: Drawing) -> None:
    """In a cut staff put guests where the web sells too; when it is over somebody has to give way, and some give their bay back."""
    rng, site, t = d.rng, d.site(), d.rng.uniform(8, 12)
    ends = t + rng.uniform(14, 20)
    cut(d, site, t, ends)
    for bay, hour in rng.sample([(b, h) for b in range(2, d.bays + 1) for h in range(3, 9)], 10):
        what = {"site": site, "start": spot(d, t, hour), "slots": 4}
        sold = d.add(t + rng.uniform(1, 12), "book", **what, who=rng.randrange(4000), how=rng.choice(HUB_HOWS), bays=[bay])
        over = d.add(t + rng.uniform(1, 12), "override", **what, who=rng.randrange(4000), bay=bay)
        if rng.random() < 0.8:
            gone = ends + rng.uniform(3, 20)
            d.add(gone, "cancel", of=rng.choice((sold, sold, sold, over)), how=rng.choice(("web", "staff")))
            for _ in range(3):
                how = rng.choice((*HUB_HOWS, *SITE_HOWS))
                d.add(gone + rng.uniform(0.2, 8), "book", **what, who=rng.randrange(4000), how=how, bays=[bay])


def parts(d: Drawing) -> None:
    """Groups of two bays on the two sides of the line: the hub's part waits for the site's answer while its hour is about to be released."""
    rng, site = d.rng, d.site()
    d.add(2, "weather", name=rng.choice(("slow", "late", "late")))
    for p in range(10, 90, 9):
        line = int(d.wall(p) // 900) + NEAR_SLOTS
        d.passes.append((p, 3600))
        d.add(p, "pass", s=3600)
        for bay in range(2, d.bays + 1):
            what = {"site": site, "start": line, "slots": 4}
            d.add(p - rng.uniform(0.1, 3), "book", **what, how=rng.choice(HUB_HOWS), who=rng.randrange(4000), bays=[FAR, bay])
            for _ in range(4):
                d.add(p + rng.uniform(0.5, 8), "book", **what, how=rng.choice(SITE_HOWS), who=rng.randrange(4000), bays=[bay])


#: name -> how its day is drawn. New ones at the end: a seed's theme is its place here
THEMES: dict[str, Callable[[Drawing], None]] = {
    fn.__name__: fn
    for fn in (
        disks, restored, marked, rewound, both, old_box, dark, hustle, strip, clocks, witness, rot, overridden, parts, worn, strangers,
        failover, releases, owed, reader, replicas,
    )
}  # fmt: skip
#: what is different about a theme's world
SETTINGS: dict[str, dict] = {"strip": {"release_ahead_max_s": 48 * 3600}, "reader": {"outage_ahead_s": 6 * 3600}}
