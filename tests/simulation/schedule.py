"""A day as a value: what people want and what goes wrong, drawn from a seed, before anything happens.

An action is `[at, kind, {...}]`: `at` in simulated seconds of the scheduler, which runs through a day in a few minutes because the hours in
which nothing happens are `pass`ed over. Actions name each other by number (`of`), so any of them may be left out and the rest still makes
sense: that is what lets a failing day be shrunk. Slots count from the world's beginning. Pure: no clock, no product.
"""

from __future__ import annotations

import random
from typing import Any

import msgspec

SITES = ("bedford", "truro")
HOUR = 4
#: people's wishes on a day; the changes and visits that follow from them come on top
WISHES = 150
LENGTHS = (4, 4, 4, 6, 8)
#: one guest of so many who set out does not come, and staff say so
NO_SHOW_EVERY = 12
#: how long a day takes in the scheduler's seconds, and how much of the clock is passed over meanwhile
LASTS_S, DAY_S = 120.0, 26 * 3600
PASSES = 48

WEATHER: dict[str, dict[str, Any]] = {
    "fair": {"delay_s": (0.005, 0.03)},
    "slow": {"delay_s": (0.02, 0.5)},
    "late": {"delay_s": (0.05, 2.5)},
    "unruly": {"delay_s": (0.01, 0.6), "duplicate": 0.3, "reorder": 0.3},
    "lossy": {"delay_s": (0.01, 0.6), "loss": 0.25},
    "foul": {"delay_s": (0.01, 0.6), "loss": 0.1, "duplicate": 0.1, "reorder": 0.1, "replay": 0.1},
}


class Action(msgspec.Struct, array_like=True):
    """One thing that happens. `no` is its number in the day as drawn, by which others name it."""

    at: float
    no: int
    kind: str
    what: dict[str, Any]


class Schedule(msgspec.Struct, kw_only=True):
    """One site-day. `settings` go to the world; `without` names guards that are taken away (mutants)."""

    seed: int
    settings: dict[str, Any]
    actions: list[Action]
    without: list[str] = []

    def only(self, kept: list[Action]) -> Schedule:
        return msgspec.structs.replace(self, actions=kept)

    def to_json(self) -> bytes:
        return msgspec.json.format(msgspec.json.encode(self))


def from_json(text: bytes | str) -> Schedule:
    return msgspec.json.decode(text, type=Schedule)


def draw(seed: int, *, wishes: int = WISHES) -> Schedule:
    """The day of this seed: an ordinary one, or one of a theme (`themes.theme_of`)."""
    from tests.simulation import themes  # themes know the drawing

    theme = themes.theme_of(seed)
    drawing = Drawing(seed)
    if theme:
        drawing.bays = 4
        themes.THEMES[theme](drawing)
    else:
        drawing.ordinary(wishes)
    return drawing.schedule(themes.SETTINGS.get(theme, {}))


class Drawing:
    """A day while it is being drawn: what is entered with `add`, and the randomness of its seed."""

    sites = SITES

    def __init__(self, seed: int):
        self.seed, self.rng = seed, random.Random(f"day/{seed}")
        self.actions: list[Action] = []
        self.passes: list[tuple[float, float]] = []
        self.bays = self.rng.choice((4, 6, 8, 8))
        #: whether the doors have a reader for PINs, and whether there is one hub process, or two replicas, whatever the seed
        self.readers = self.single = self.replicas = False

    # ---- the day
    def ordinary(self, wishes: int, *, disks: bool = False) -> None:
        """People, the house and fate, each by its own share. `disks`: a disk is lost or put back, as on a tenth of the days by themselves."""
        self._clock()
        for _ in range(wishes):
            self._wish()
        self._house()
        self._fate(disks)

    def schedule(self, limits: dict[str, Any]) -> Schedule:
        self.actions.sort(key=lambda a: (a.at, a.no))
        rng = self.rng
        named = {"batch_max": rng.choice((1, 3, 256, 256)), "pin_lease": rng.choice((10, 30, 60)), "pin_floor": 8,
                 "release_ahead_max_s": rng.choice((49, 49, 72)) * 3600}  # fmt: skip
        settings = {
            "sites": list(SITES),
            "bays": self.bays,
            "replicas": 2 if (self.seed % 10 == 7 or self.replicas) and not self.single else 1,
            "readers": self.readers,
            "limits": named | limits,
        }
        return Schedule(seed=self.seed, settings=settings, actions=self.actions)

    def site(self) -> str:
        return self.rng.choice(SITES)

    def add(self, at: float, kind: str, **what: Any) -> int:
        no = len(self.actions)
        self.actions.append(Action(round(min(at, LASTS_S), 3), no, kind, what))
        return no

    # ---- the clock
    def _clock(self) -> None:
        rng = self.rng
        shares = [rng.random() for _ in range(PASSES)]
        for share in shares:
            at, seconds = rng.uniform(3, LASTS_S), round(DAY_S * share / sum(shares))
            self.passes.append((at, seconds))
            self.add(at, "pass", s=seconds)
        self.passes.sort()

    def wall(self, at: float) -> float:
        """Seconds of the clock since the beginning, at a moment of the scheduler."""
        return at + sum(s for t, s in self.passes if t <= at)

    def moment(self, wall: float) -> float | None:
        """The moment of the scheduler at which the clock shows this, or just after; None after the day."""
        shown = before = 0.0
        for t, s in [*self.passes, (LASTS_S, 0)]:
            if wall <= shown + (t - before):
                return before + max(0.0, wall - shown)
            shown, before = shown + (t - before) + s, t
            if wall < shown:
                return t + 0.01
        return None

    # ---- people
    def _when(self, at: float, how: str = "staff") -> tuple[int, int]:
        """Start and length in slots for somebody who looks at this moment. The web wants an hour's notice."""
        rng = self.rng
        first = int(self.wall(at) // 1800) + (4 if how in ("web", "api") else 1)
        ahead = rng.choice((0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 8)) if rng.random() < 0.6 else rng.randint(0, 56)
        if rng.random() < 0.04:  # about where the furthest line is
            ahead = rng.randint(88, 100)
        return 2 * (first + ahead), rng.choice(LENGTHS)

    def _wish(self) -> None:
        rng = self.rng
        at, site = rng.uniform(2, LASTS_S - 2), rng.choice(SITES)
        side = rng.choices(("web", "api", "kiosk", "staff"), (40, 12, 24, 24))[0]
        start, length = self._when(at, side)
        what: dict[str, Any] = {"site": site, "how": side, "start": start, "slots": length, "who": rng.randrange(4000)}
        if side in ("web", "api") and rng.random() < 0.14:
            bays = rng.sample(range(1, self.bays + 1), rng.choice((2, 2, 3)))
            no = self.add(at, "book", **what, bays=bays)
        elif rng.random() < 0.12:
            no = self._held(at, what)
        else:
            no = self.add(at, "book", **what, bays=[rng.randint(1, self.bays)])
        self._after(no, at, what)

    def _held(self, at: float, what: dict[str, Any]) -> int:
        """A hold, and later the booking, or nothing."""
        rng = self.rng
        bay = rng.randint(1, self.bays)
        held = self.add(at, "hold", **what, bay=bay)
        if rng.random() < 0.2:
            self.add(at + rng.uniform(0.2, 6), "prolong", of=held)
        if rng.random() < 0.25:
            self.add(at + rng.uniform(0.5, 10), "drop", of=held)
        return self.add(at + rng.uniform(0.3, 12), "book", **what, bays=[bay], hold=held)

    def _after(self, no: int, at: float, what: dict[str, Any]) -> None:
        """What becomes of a booking: changes, a repeated request, a visit."""
        rng = self.rng
        if rng.random() < 0.05:
            self.add(at + rng.uniform(0, 4), "again", of=no)
        if rng.random() < 0.02:
            self.add(at + rng.uniform(0.5, 6), "reuse", of=no)
        fate = rng.random()
        if fate < 0.22:
            self._change(no, at, "cancel", what)
        elif fate < 0.40:
            self._change(no, at, "move", what)
            if rng.random() < 0.3:
                self._change(no, at, rng.choice(("move", "cancel")), what)
        elif fate < 0.46:
            self._change(no, at, "extend", what)
        if rng.random() < 0.8:
            self._visit(no, what)

    def _change(self, no: int, at: float, kind: str, what: dict[str, Any]) -> None:
        rng = self.rng
        start = self.moment(what["start"] * 900) or LASTS_S
        near = rng.random() < 0.35  # while the request, or the check-in, is still under way
        when = at + rng.uniform(0, 3) if near else rng.uniform(at, max(at + 1, min(start + 0.5, LASTS_S)))
        more: dict[str, Any] = {"of": no, "how": rng.choice(("web", "web", "api", "staff"))}
        if kind == "move":
            first, length = self._when(when, more["how"])
            site = what["site"] if rng.random() < 0.85 else rng.choice(SITES)
            more |= {"site": site, "bay": rng.randint(1, self.bays), "start": first, "slots": length}
            if rng.random() < 0.3:
                more |= {"start": what["start"] + 2 * rng.choice((-1, 1)), "slots": what["slots"], "bay": 0}
        self.add(when, kind, **more)

    def _visit(self, no: int, what: dict[str, Any]) -> None:
        rng = self.rng
        early = rng.uniform(-1200, 2400)  # some come too early, some late
        when = self.moment(what["start"] * 900 + early)
        if when is None:
            return
        how = rng.choices(("pass", "pin", "staff"), (45, 30, 25))[0]
        if no % NO_SHOW_EVERY:
            self.add(when, "check_in", of=no, how=how)
        else:
            self.add(when, "attend", of=no, state="no_show")
        if rng.random() < 0.15:
            self.add(when + rng.uniform(0.1, 4), "attend", of=no, state=rng.choice(("completed", "no_show", "")))
        if rng.random() < 0.15:
            self._change(no, when, rng.choice(("cancel", "move", "extend")), what)

    # ---- the house
    def _house(self) -> None:
        """Staff: blocks, overrides, the conflict queue."""
        rng = self.rng
        for _ in range(rng.randint(3, 7)):
            at, site = rng.uniform(2, LASTS_S - 5), rng.choice(SITES)
            start, length = self._when(at)
            no = self.add(at, "block", site=site, bay=rng.randint(1, self.bays), start=start, slots=length, how=rng.choice(("staff", "staff", "api")))
            if rng.random() < 0.6:
                self.add(rng.uniform(at, LASTS_S), "unblock", of=no, how=rng.choice(("staff", "api")))
        for _ in range(rng.randint(1, 4)):
            at = rng.uniform(2, LASTS_S - 5)
            start, length = self._when(at)
            self.add(at, "override", site=rng.choice(SITES), bay=rng.randint(1, self.bays), start=start, slots=length, who=rng.randrange(4000))
        for at in range(10, int(LASTS_S), 20):
            self.add(at + rng.random(), "queue", site=rng.choice(SITES))

    # ---- fate
    def _fate(self, disks: bool) -> None:
        """Network, machines, disks, clocks. Every kind of misfortune has its own share of the days."""
        rng = self.rng
        for _ in range(rng.randint(2, 6)):
            self.add(rng.uniform(0, LASTS_S - 20), "weather", name=rng.choice(tuple(WEATHER)))
        for _ in range(rng.choice((0, 1, 1, 2, 3))):
            self._cut()
        for _ in range(rng.choice((0, 0, 1, 1, 2))):
            self.add(
                rng.uniform(3, LASTS_S - 15), "crash", machine=rng.choice(("hub", *SITES)), commits=rng.randint(1, 8),
                lose_last=rng.random() < 0.5, down_s=round(rng.choice((0.1, 1, 4, 15)) * rng.uniform(0.5, 1.5), 2),
            )  # fmt: skip
        if rng.random() < 0.15:
            self.add(rng.uniform(3, LASTS_S - 20), "broker", down_s=rng.choice((0.5, 5, 14)), wipe=rng.random() < 0.5)
        for _ in range(rng.choice((0, 0, 1, 2))):
            self.add(rng.uniform(10, LASTS_S - 10), "replay", client=rng.choice(("hub", *SITES)), count=rng.choice((1, 5, 40)))
        if rng.random() < 0.3:
            at = rng.uniform(5, LASTS_S - 40)
            machine = rng.choice(("hub", *SITES))
            self.add(at, "skew", machine=machine, s=rng.choice((-400, -61, -8, -2, 3, 20, 90, 900)))
            self.add(at + rng.uniform(5, 30), "skew", machine=machine, s=0)
        if rng.random() < 0.25:
            self.add(rng.uniform(5, LASTS_S - 30), "hours", site=rng.choice(SITES))
        self._disks(disks)

    def _cut(self) -> None:
        rng = self.rng
        site, at = rng.choice(SITES), rng.uniform(3, LASTS_S - 25)
        lasts = rng.choice((1, 4, 12, 20, 40))
        self.add(at, "cut", site=site, way=rng.choice(("both", "both", "both", "to_broker", "from_broker")), noticed=rng.random() < 0.6)
        if lasts > 12 and rng.random() < 0.5:  # the broker plays old hellos into the silence
            self.add(at + rng.uniform(13, lasts), "replay", client="hub", count=40)
        if rng.random() < 0.5:  # both sides have noticed, and go on selling
            for _ in range(rng.randint(2, 8)):
                self._dark_wish(site, at + rng.uniform(0, lasts))
        self.add(at + lasts, "heal", site=site)

    def _dark_wish(self, site: str, at: float) -> None:
        """Somebody who comes while the two sides do not hear each other, for what is near or just over the line."""
        rng = self.rng
        start = 2 * (int(self.wall(at) // 1800) + 1 + rng.randint(0, 9))
        what = {"site": site, "how": rng.choice(("web", "staff", "kiosk")), "start": start, "slots": 4, "who": rng.randrange(4000)}
        bay = rng.randint(1, self.bays)
        if rng.random() < 0.15:  # staff sell what the web sells in the same hour
            self.add(at + rng.uniform(-2, 2), "override", site=site, bay=bay, start=start, slots=4, who=rng.randrange(4000))
        no = self.add(at, "book", **what, bays=[bay])
        if rng.random() < 0.4:
            self._change(no, at, rng.choice(("cancel", "move")), what)
        if rng.random() < 0.7:
            self._visit(no, what)

    def _disks(self, forced: bool) -> None:
        """A disk that is lost, or put back as it was; a box that was replaced and wakes."""
        rng = self.rng
        kind = rng.choices(("none", "restore_site", "restore_hub", "adopt", "restore_both"), (0 if forced else 90, 4, 3, 3, 1))[0]
        site = rng.choice(SITES)
        at = rng.uniform(30, LASTS_S - 45)
        if kind == "none":
            return
        if rng.random() < 0.6:  # in a cut: what is sold is on one disk only, and what comes after is sold unheard
            began, ends = at - rng.uniform(6, 14), at + rng.uniform(1, 14)
            self.add(began, "cut", site=site, way="both", noticed=True)
            for _ in range(rng.randint(6, 14)):
                self._dark_wish(site, rng.uniform(began, ends))
            self.add(ends, "heal", site=site)
        if kind == "adopt":
            returns = rng.random() < 0.6
            self.add(at, "lose_disk", site=site, returns=returns)
            if returns:
                self.add(at + rng.uniform(2, 25), "old_box_wakes", site=site)
            return
        for n, machine in enumerate({"restore_site": [site], "restore_hub": ["hub"], "restore_both": ["hub", site]}[kind]):
            copy = self.add(at - rng.choice((1, 5, 20)), "backup", machine=machine)
            self.add(at + n * rng.uniform(1, 4), "restore", machine=machine, of=copy)  # the hub first: it grants the site's new term
