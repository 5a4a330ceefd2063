"""What goes wrong without the guard of the digests: loss-8. Also the ways in which books are damaged for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from shared.ledger import digests, records
from tests.rules.harm import must, scenario

if TYPE_CHECKING:
    from tests.two_sides import Party, World


def state_digests(w: World) -> None:
    """Both sides state what they own, as their timers do daily and after a cut."""
    for site_id, site in w.sites.items():
        for party in (w.hub, site):
            party.write(lambda tx, desk, s=site_id: digests.state(tx, desk, s))


def lose_booking(party: Party, booking_id: str) -> None:
    """The row, its claims and what is known of its guest are gone, and nobody has noticed."""

    def run(tx, _):
        for statement in ("DELETE FROM bookings WHERE id = :b", "DELETE FROM claims WHERE ref = :b", "DELETE FROM attendance WHERE booking_id = :b"):
            tx.run(statement, {"b": booking_id})

    party.write(run)


def forge_status(party: Party, booking_id: str, status: str) -> None:
    """The row says something that was never decided, and its claims are as if it had been."""

    def run(tx, _):
        doc = records.text(msgspec.structs.replace(records.booking(tx, booking_id), status=status))
        tx.run("UPDATE bookings SET status = :st, doc = :d WHERE id = :b", {"st": status, "d": doc, "b": booking_id})
        if status != "confirmed":
            tx.run("DELETE FROM claims WHERE ref = :b", {"b": booking_id})

    party.write(run)


def lose_attendance(party: Party, booking_id: str) -> None:
    party.write(lambda tx, _: tx.run("DELETE FROM attendance WHERE booking_id = :b", {"b": booking_id}))


@scenario(rule="loss-8", guard="digests_resend")
async def the_site_loses_a_row_that_the_hub_sold(w: World):
    [sold] = w.hub.book(2, 20)
    await w.quiet()
    lose_booking(w.site, sold.id)
    state_digests(w)
    await w.quiet()
    must(w.site.booking(sold.id), "a guest who was told 'confirmed' is not expected at the facility")
