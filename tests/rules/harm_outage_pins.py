"""What goes wrong without the guards of the outage credentials: pass-4."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.ledger import outage_pins, sales
from shared.model import Booking, Order
from shared.sealing import Sealer, SealKey
from tests.rules.harm import must, scenario

if TYPE_CHECKING:
    from tests.two_sides import World


async def stocked(w: World, bay: int, *starts: int) -> list[outage_pins.Spare]:
    """The site has made an outage credential for each hour (slots from the world's beginning), its controller has them, and the hub knows."""
    w.hub.desk.sealer, w.hub.desk.opener = Sealer(bytes(32)), SealKey(bytes(32))
    w.site.desk.seal_to = w.hub.desk.opener.public
    resource_id = f"{w.site.site_ids[0]}.box-{bay}"

    def run(tx, desk):
        made = outage_pins.make(tx, desk, w.site.site_ids[0], [(resource_id, w.slot0 + start) for start in starts])
        assert all(outage_pins.leased(tx, desk, spare.id) for spare in made)
        return made

    made = w.site.write(run)
    await w.quiet()
    return made


def doors_know(w: World) -> dict[str, str]:
    """PIN -> state of what the site's door controller should have without a known booking."""
    return {spare.secret: spare.state for spare in w.site.read(lambda tx: outage_pins.unassigned(tx, w.site.site_ids[0]))}


def half_hour(w: World, start: int) -> Booking:
    """A short web sale on bay 2 to somebody new, as under house rules that allow it."""
    name, site_id = w.new_id("b"), w.site.site_ids[0]
    order = Order(id=f"order-{name}", reference="SHORT", site_id=site_id, customer_id=f"person-{name}", channel="web")
    first = w.slot0 + start
    b = Booking(id=name, order_id=order.id, site_id=site_id, resource_id=f"{site_id}.box-2", start=first, end=first + 2)
    [sold] = w.hub.write(
        lambda tx, desk: sales.place(tx, desk, sales.Wish(order=order, bookings=(b,), customer=w.person(name), link_up=w.hub.up()))
    )
    return sold


@scenario(rule="pass-4", guard="outage_pin_once")
async def two_sales_in_one_hour_of_arrival(w: World):
    await stocked(w, 2, 20)
    await w.dark()
    one, other = half_hour(w, 20), half_hour(w, 22)
    must(one.outage_pin and one.outage_pin != other.outage_pin, "one spare PIN opens the door for two bookings")


@scenario(rule="pass-4", guard="outage_pin_revoked_on_release")
async def the_line_passes_a_spare_pin_that_nobody_has(w: World):
    [spare] = await stocked(w, 2, 20)
    w.forward(6 * 3600)
    w.hub.release()
    await w.quiet()
    must(w.site.line(2) >= 24, "the line did not pass it")
    must(spare.secret not in doors_know(w), "a PIN that no booking can have any more goes on opening the door")
