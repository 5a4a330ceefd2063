"""What must hold in a world of a hub and its sites: at every moment, and after the link has come to rest.

Reads the books of both sides as they are on disk; changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from shared.ledger import lines, records, soundness
from shared.model import Booking, Interval

if TYPE_CHECKING:
    from shared.runtime.database import Tx
    from tests.two_sides import World


def word_of_owner(world: World, site_id: str) -> dict[str, Booking]:
    """Every booking of a site as its owner has it. Between the lines nobody owns it and the hub, who gave it up last, has the last word.

    A booking that its owner has not heard of yet (an override of the site's in the hub's territory) is as the other side has it.
    """
    site, hub = world.sites[site_id], world.hub
    known = {**hub.bookings(site_id), **site.bookings(site_id)}
    mine = site.read(lambda tx: lines.lines_of(tx, site_id))
    at_site, at_hub = site.bookings(site_id), hub.bookings(site_id)
    return {i: (at_site if b.start < mine[b.resource_id] else at_hub).get(i, b) for i, b in known.items()}


def overlaps(world: World) -> list[str]:
    """Slots that two live bookings hold at once: live is what its owner calls confirmed (or is still giving up) and no side has marked
    displaced. An override counts from when the hub's sale is heard (terr-5), which is when its mark is set."""
    out = []
    for site_id, site in world.sites.items():
        at_site, at_hub = site.bookings(site_id), world.hub.bookings(site_id)
        taken: dict[tuple[str, int], str] = {}
        for b in word_of_owner(world, site_id).values():
            copies = [c for c in (at_site.get(b.id), at_hub.get(b.id)) if c is not None]
            live = b.status in ("confirmed", "cancelling") and not soundness.giving_way(b)
            if not live or b.override or any(c.displaced for c in copies):
                continue
            a = site.attendance(b.id)
            seat = a.seat if a and a.seat else b.resource_id
            for slot in range(b.claimed.start, b.claimed.end):
                other = taken.setdefault((seat, slot), b.id)
                if other != b.id:
                    out.append(f"{seat} at {slot - world.slot0}: {other} and {b.id}")
    return out


def in_one_bay(world: World) -> list[str]:
    """Slots in which two guests are checked in on one bay."""
    out = []
    for site_id, site in world.sites.items():
        taken: dict[tuple[str, int], str] = {}
        for b in site.bookings(site_id).values():
            a = site.attendance(b.id)
            if a is None or a.state != "checked_in" or b.replaced_by:
                continue
            for slot in range(b.start, b.end):
                other = taken.setdefault((a.seat or b.resource_id, slot), b.id)
                if other != b.id:
                    out.append(f"{b.resource_id} at {slot - world.slot0}: {other} and {b.id}")
    return out


def breaches(world: World) -> list[str]:
    """What the watch in production would stop sales for, on either side: the same questions, asked at every moment."""
    out = []
    for site_id, site in world.sites.items():
        for party in (world.hub, site):
            out += [f"{party.side}: {b.kind} {b.ref}: {b.detail}" for b in party.read(lambda tx, s=site_id: _ask(tx, s))]
        told, epoch = site.read(lambda tx, s=site_id: lines.lines_of(tx, s)), site.stream(site_id).epoch
        out += [b.detail for b in world.hub.read(lambda tx, s=site_id, t=told, e=epoch: soundness.lines_told(tx, s, t, e))]
    return out


def _ask(tx: Tx, site_id: str) -> list[soundness.Breach]:
    always = Interval(0, 1 << 40)
    found = [b for resource_id in lines.lines_of(tx, site_id) for b in soundness.bay(tx, site_id, resource_id, always)]
    after = -1
    while True:
        more, after = soundness.stream(tx, site_id, after)
        found += more
        if after < 0:
            return found


def assert_always(world: World) -> None:
    """No slot sold twice, no bay with two guests, nothing that the watch in production stops sales for: at every moment, whatever is under way."""
    twice, crowded, broken = overlaps(world), in_one_bay(world), breaches(world)
    assert not twice, f"sold twice: {twice}"
    assert not crowded, f"two guests in one bay: {crowded}"
    assert not broken, f"the watch would stop sales: {broken}"


def assert_sound(world: World) -> None:
    """`assert_always`, and the lines in their order even where the watch has no say, as while a stream stands."""
    assert_always(world)
    for site_id, site in world.sites.items():
        hub_lines = world.hub.read(lambda tx, s=site_id: lines.lines_of(tx, s))
        site_lines = site.read(lambda tx, s=site_id: lines.lines_of(tx, s))
        assert all(site_lines[r] <= line for r, line in hub_lines.items()), (site_lines, hub_lines)


#: what each side keeps for itself: when it wrote the row, how often, and how it came to its end
OWN_AFFAIRS = {"version": 0, "created_at": 0, "withdrawn": False, "answer_by": 0, "reason": "", "replaced_by": ""}


def assert_equal_books(world: World) -> None:
    """After the link has come to rest both sides say the same of every booking, claim, block, attendance and line."""
    for site_id, site in world.sites.items():
        assert not world.hub.stream(site_id).stopped, world.hub.stream(site_id).stopped
        assert not site.stream(site_id).stopped, site.stream(site_id).stopped
        mine, theirs = world.hub.bookings(site_id), site.bookings(site_id)
        for i in sorted(set(mine) | set(theirs)):
            a, b = mine.get(i), theirs.get(i)
            if a is None or b is None:
                alone = a or b
                assert alone.status in ("declined", "expired", "cancelled"), f"only one side knows {alone}"
                continue
            assert comparable(a) == comparable(b), f"hub: {a}\nsite: {b}"
            assert a.status not in ("requested", "pending", "cancelling"), f"never settled: {a}"
            assert world.hub.attendance(i) == site.attendance(i), i
        differ = claims_differ(world, site_id)
        assert not differ, f"claims differ: {differ}"
        both = [party.read(lambda tx, s=site_id: lines.lines_of(tx, s)) for party in (world.hub, site)]
        assert both[0] == both[1], f"lines differ: hub {both[0]}, site {both[1]}"


def comparable(b: Booking) -> Booking:
    """What never became valid has no say: one side may call it declined (too late) and the other cancelled (withdrawn). Nor has the PIN of
    what is over, which may have been given after the other side had heard of the end."""
    never = not b.sale_no and b.status in ("declined", "cancelled", "expired")
    over = {"pin": ""} if b.status in ("declined", "cancelled", "expired") else {}
    return msgspec.structs.replace(b, **OWN_AFFAIRS, **over, **({"status": "declined"} if never else {}))


def claims_differ(world: World, site_id: str) -> list[str]:
    """Slots that the two sides have given to different holders, but for holds, which their owner keeps for itself, and for contested slots:
    under a block or a displaced booking each side keeps the claim that came first, until one of them ends (block-1, block-2)."""
    hub, site = world.hub, world.sites[site_id]
    contested = {
        (b.resource_id, slot) for b in site.bookings(site_id).values() if b.displaced for slot in range(b.claimed.start, b.claimed.end)
    }
    for k in site.read(lambda tx: records.blocks_between(tx, site_id, 0, 1 << 40)):
        if k.status == "active":
            contested |= {(k.resource_id, slot) for slot in range(k.start, k.end)}
    kept = [{at: c for at, c in party.claims(site_id).items() if c[0] != "hold" and at not in contested} for party in (hub, site)]
    return [
        f"{at[0]} at {at[1] - world.slot0}: hub {kept[0].get(at)} site {kept[1].get(at)}"
        for at in sorted(set(kept[0]) | set(kept[1]))
        if kept[0].get(at) != kept[1].get(at)
    ]
