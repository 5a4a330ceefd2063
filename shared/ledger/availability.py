"""A day of a facility as people and programs see it: what is free, and whether it is sold at once or asked of the other side (B2, B14).

`DayCache` keeps the encoded bytes per day with an ETag and forgets them when a claim, a line or a document changes. What is shown is
never what is sold on: the sale looks again, in its transaction.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import date

import msgspec

from .. import slots, territory
from ..model import Interval, site_of
from ..runtime.database import Tx
from . import claims, lines
from .desk import Desk
from .frontdesk import House, Houses

#: one letter per half hour
INSTANT, ASK, UNREACHABLE, TAKEN, CLOSED, PAST = "i", "a", "u", "x", "c", "p"
HOW = {INSTANT: "instant", ASK: "ask_site", UNREACHABLE: "unreachable"}
#: a kept answer is made anew after this time, so that `as_of`, the past and the line's reach stay true
KEEP_S = 5.0


class Row(msgspec.Struct, frozen=True):
    """A half hour of the day: its first slot, its start in UTC unix seconds, its label in the facility's zone."""

    slot: int
    start_at: int
    label: str


class Free(msgspec.Struct, frozen=True):
    """A free run: UTC unix seconds, and how it is sold: `instant`, `ask_site` (asked of the other side), `unreachable`."""

    start_at: int
    end_at: int
    how: str


class ResourceDay(msgspec.Struct, frozen=True):
    """`cells` has one letter per row: i instant, a ask_site, u unreachable, x taken, c closed, p past."""

    id: str
    name: str
    kind: str
    cells: str
    free: tuple[Free, ...]
    sells_until: int


class DayGrid(msgspec.Struct, frozen=True, kw_only=True):
    """46, 48 or 50 rows (B2). `as_of`: up to when the other side's sales are known (unix seconds); `link` is `up` or `dark`."""

    site_id: str
    name: str
    date: str
    zone: str
    as_of: int
    link: str
    rows: tuple[Row, ...]
    resources: tuple[ResourceDay, ...]


def day(tx: Tx, desk: Desk, house: House, on: date, *, link_up: bool, heard_at: int) -> DayGrid:
    """The grid of one local day. `heard_at`: when the other side was last heard, for `as_of` while dark."""
    zone, policy, site_id = house.facility.zone, house.profile.policy, house.facility.id
    span = slots.day_span(zone, on)
    rows = tuple(Row(slot, slot * 900, label) for slot, label in slots.rows(zone, on))
    bays = [r for r in house.resources.values() if r.active]
    taken = {r: set(there) for r, there in claims.taken_of(tx, [r.id for r in bays], span).items()}
    line = lines.lines_of(tx, site_id)
    now = desk.now()
    out = []
    for r in bays:
        open_slots = {s for run in slots.open_intervals(policy.hours, r.id, zone, on) for s in range(run.start, run.end)}
        at = line.get(r.id, 0)
        cells = "".join(_cell(desk, row.slot, taken[r.id], open_slots, at, link_up, now) for row in rows)
        out.append(ResourceDay(r.id, r.name, r.kind, cells, _free(rows, cells), at * 900))
    return DayGrid(
        site_id=site_id,
        name=house.facility.name,
        date=on.isoformat(),
        zone=zone,
        as_of=now if link_up else heard_at,
        link="up" if link_up else "dark",
        rows=rows,
        resources=tuple(out),
    )


def _cell(desk: Desk, slot: int, taken: set[int], open_slots: set[int], line: int, link_up: bool, now: int) -> str:
    if (slot + 2) * 900 <= now:
        return PAST
    if slot in taken or slot + 1 in taken:
        return TAKEN
    if slot not in open_slots or slot + 1 not in open_slots:
        return CLOSED
    if territory.may_sell(desk.side, Interval(slot, slot + 2), line) == "mine":
        return INSTANT
    return ASK if link_up else UNREACHABLE


def _free(rows: tuple[Row, ...], cells: str) -> tuple[Free, ...]:
    runs: list[Free] = []
    for row, cell in zip(rows, cells, strict=True):
        how = HOW.get(cell)
        if how is None:
            continue
        if runs and runs[-1].end_at == row.start_at and runs[-1].how == how:
            runs[-1] = Free(runs[-1].start_at, row.start_at + 1800, how)
        else:
            runs.append(Free(row.start_at, row.start_at + 1800, how))
    return tuple(runs)


class Kept(msgspec.Struct, frozen=True):
    """An encoded day: the body, its ETag (of everything but `as_of`), and until when it may be served."""

    body: bytes
    etag: str
    until: float
    link_up: bool


class DayCache:
    """Encoded days. `link(site_id) -> (up, heard_at)` is asked on every use, so a day kept while up is not served while dark."""

    def __init__(self, db, desk: Desk, houses: Houses, link: Callable[[str], tuple[bool, int]], monotonic: Callable[[], float]):
        self._db, self._desk, self._houses, self._link, self._monotonic = db, desk, houses, link, monotonic
        self._kept: dict[tuple[str, date], Kept] = {}
        db.listen(self._changed)

    def _changed(self, events: list[tuple[str, str]]) -> None:
        if not self._kept:
            return
        sites = {site_of(key) for topic, key in events if topic == "resource"}
        if any(topic == "document" for topic, _ in events):
            self._kept.clear()
        elif sites:
            self._kept = {k: v for k, v in self._kept.items() if k[0] not in sites}

    def get(self, site_id: str, on: date) -> Kept:
        """The day's bytes. Refuses `facility_not_found`."""
        up, heard_at = self._link(site_id)
        now = self._monotonic()
        kept = self._kept.get((site_id, on))
        if kept is not None and kept.link_up == up and now < kept.until:
            return kept
        grid = self._db.read(lambda tx: day(tx, self._desk, self._houses.of(tx, site_id), on, link_up=up, heard_at=heard_at))
        digest = hashlib.sha256(msgspec.json.encode(msgspec.structs.replace(grid, as_of=0))).hexdigest()[:20]
        etag = f'"{digest}"'
        kept = Kept(msgspec.json.encode(grid), etag, now + KEEP_S, up)
        if len(self._kept) > 2000:
            self._kept.clear()
        self._kept[(site_id, on)] = kept
        return kept
