"""A hub and its site where bays break: what displaces a guest, and what the books then say. The rule places nobody, so that people choose."""

import msgspec

from shared.ledger import blocks, claims, records
from shared.model import Block, Booking, Interval
from tests.cloud_hub.hub_world import LINE_AFTER, NOON, SITE, HubWorld
from tests.cloud_hub.visitor import Form, Page, Visitor

#: 22:00 in Halifax, which the hub sells itself; 14:00, which the site does
FAR, NEAR = LINE_AFTER + 8, 8
DAY = "2026-11-21"
BAY = f"{SITE}.box-"
OTHER = {"phone": "902-555-0199", "email": "other@example.test"}


def states(w: HubWorld, **policy) -> None:
    """The hub's copy of the house's rules. Nothing is placed by rule unless that is said."""
    house = w.db.read(lambda tx: w.hub.houses.of(tx, SITE))
    rule = msgspec.structs.replace(house.profile.policy.displacement, by_rule=False)
    new = msgspec.structs.replace(house.profile, policy=msgspec.structs.replace(house.profile.policy, **({"displacement": rule} | policy)))
    w.db.write_now(lambda tx: records.put_document(tx, "profile", SITE, SITE, 90, records.text(new)))


async def breaks(
    w: HubWorld, bay: int, start: int, slots: int = 4, *, kind: str = "maintenance", reason: str = "", told: bool = True
) -> Block:
    """The site takes a bay out of sale so many slots after NOON, and the hub has heard of it."""
    wanted = Block(
        id=f"block-{bay}-{start:04}", site_id=SITE, resource_id=f"{BAY}{bay}", start=NOON // 900 + start, end=NOON // 900 + start + slots,
        kind=kind, reason=reason,
    )  # fmt: skip
    made = w.site.db.write_now(lambda tx: blocks.block(tx, w.site.desk, wanted))
    if told:
        await w.quiet()
    return made


async def mended(w: HubWorld, block: Block) -> None:
    w.site.db.write_now(lambda tx: blocks.unblock(tx, w.site.desk, block.id))
    await w.quiet()


async def goes_dark(w: HubWorld) -> None:
    w.cut()
    w.clock.forward(11)
    await w.until(lambda: not w.hub.links.up(SITE))


async def later(w: HubWorld, seconds: float) -> None:
    """The clock goes on, and both sides hear each other then."""
    w.clock.forward(seconds)
    await w.greeting_until(lambda: w.hub.links.up(SITE) and w.site.pump.fresh())
    await w.quiet()


def silences_site(w: HubWorld) -> None:
    """The site hears and is not heard; nobody has noticed yet."""
    w.network.cut(f"site-{SITE}", "to_broker", noticed=False)


async def hears_site(w: HubWorld) -> None:
    w.network.heal(f"site-{SITE}")
    w.clock.forward(3)
    w.site.pump.tick()
    await w.linked()


def standing(w: HubWorld, order_id: str = "") -> list[Booking]:
    """The confirmed bookings, of the hub's books, by bay."""
    found = w.db.read(lambda tx: records.bookings_where(tx, "status = 'confirmed'", {}))
    return sorted((b for b in found if not order_id or b.order_id == order_id), key=lambda b: b.resource_id)


def at_site(w: HubWorld) -> list[tuple[str, int]]:
    """`(bay, slots after NOON)` of what stands at the site."""
    found = w.site.db.read(lambda tx: records.bookings_where(tx, "status = 'confirmed'", {}))
    return sorted((b.resource_id.removeprefix(BAY), b.start - NOON // 900) for b in found)


def holders(w: HubWorld, bay: int, start: int, slots: int = 4) -> list[str]:
    """What has these slots, so many after NOON: kinds of claims, each once."""
    taken = w.db.read(lambda tx: claims.holders(tx, f"{BAY}{bay}", Interval(NOON // 900 + start, NOON // 900 + start + slots)))
    return sorted({kind for _, kind, _ in taken})


def root(page: Page) -> str:
    return page.address.partition("?")[0]


def ways(page: Page, action: str = "/ways") -> list[tuple[str, int]]:
    """`(bay, slots after NOON)` of the places that the page offers, in its order."""
    found = [dict(form.fields) for form in page.forms if form.action.endswith(action)]
    return [(one["resource"].removeprefix(BAY), int(one["start"]) - NOON // 900) for one in found]


def way_to(page: Page, bay: int, start: int | None = None) -> Form:
    """The form of the first way to this bay."""
    for form in page.forms:
        values = dict(form.fields)
        if values.get("resource") == f"{BAY}{bay}" and start in (None, int(values["start"]) - NOON // 900):
            return form
    raise AssertionError(f"The page offers no way to Box {bay}: {ways(page)}")


async def displaced_guest(w: HubWorld, v: Visitor, start: int = FAR, **more) -> str:
    """A guest has booked Box 1 by the pages, and it broke. The address of the order's page."""
    page = await v.booked(start, date=DAY, resource=f"{BAY}1")
    await w.quiet()
    await breaks(w, 1, start, **more)
    return root(page)
