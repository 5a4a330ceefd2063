"""Houses in which every rule can be broken, and the wishes that break each: for `test_refusals_carry_ways`.

At hub and site alike: open from 06:00 to 24:00, box 3 taken out of sale, box 4 for twelve people, customers with restrictions.
"""

from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlencode

import msgspec

from shared.ledger import records
from shared.model import Customer, Restriction
from shared.policy import Opening
from shared.profiles import profile
from tests.cloud_hub.hub_world import LINE_AFTER, SITE, HubWorld

#: slots after NOON: tomorrow at 09:00 in Halifax, which the hub sells
FAR = 84
assert FAR > LINE_AFTER

CUSTOMERS = {
    "banned-one": Customer(id="banned-one", name="Testa Banned", email="banned@example.test", restrictions=(Restriction(kind="ban"),)),
    "prepays-first": Customer(
        id="prepays-first", name="Testa Prepay", email="prepay@example.test", restrictions=(Restriction(kind="prepay"),)
    ),
    "strange-one": Customer(
        id="strange-one", name="Testa Strange", email="strange@example.test", restrictions=(Restriction(kind="tomorrow"),)
    ),
    "limited-one": Customer(
        id="limited-one", name="Testa Limited", email="limited@example.test", restrictions=(Restriction(kind="limit", limit=0),)
    ),
}


@dataclass(frozen=True)
class Case:
    """A wish that is refused. `rules`: those that must be named, by row and code; without any it is refused because the time is taken.

    `start` and `length` in slots after NOON at the hub; `near` the same at the site, in half hours; `who`: a customer with a restriction.
    """

    name: str
    rules: tuple[tuple[str, str], ...] = ()
    bay: int = 1
    start: int = FAR
    length: int = 4
    guests: int = 1
    who: str = ""
    near: tuple[float, float] | None = (4, 2)
    mendable: bool = True


TAKEN = Case("taken", start=FAR + 40, near=(40, 2))
CASES = [
    Case("too short", (("R2", "duration_too_short"),), length=2, near=(4, 1)),
    Case("no step", (("R2", "duration_step"),), length=5, near=(4, 2.5)),
    Case("too long", (("R2", "duration_too_long"),), length=26, near=(4, 13)),
    Case("off the grid", (("B2", "off_grid"),), start=FAR + 1, near=(4.5, 2)),
    Case("past", (("R4", "in_the_past"),), start=-8, near=(-4, 2)),
    Case("too late", (("R4", "cut_off_passed"),), start=2, near=None),
    Case("too far ahead", (("R3", "too_far_ahead"),), start=20 * 96, near=(20 * 48, 2)),
    Case("closed", (("R6", "outside_hours"),), start=56, near=(28, 2)),
    Case("too many guests", (("B1", "too_many_guests"),), guests=9, near=(1, 2)),
    Case("out of sale", (("B1", "resource_not_active"),), bay=3, near=(1, 2)),
    Case("two rules", (("R2", "duration_too_short"), ("B2", "off_grid")), start=FAR + 1, length=2, near=(4.5, 1)),
    TAKEN,
    Case("too many open", (("R5", "too_many_open"),), who="limited-one", mendable=False),
    Case("banned", (("R9", "customer_blocked"),), who="banned-one", mendable=False),
    Case("prepays", (("R9", "prepay_only"),), who="prepays-first", mendable=False),
    Case("strange restriction", (("R9", "restriction_unknown"),), who="strange-one", mendable=False),
    Case(
        "closed and banned", (("R6", "outside_hours"), ("R9", "customer_blocked")), start=56, near=(28, 2), who="banned-one", mendable=False
    ),
]


# ---- the houses
def furnish_books(db) -> None:
    """One side's documents; what is already stated there is replaced."""

    def write(tx) -> None:
        usual = profile("business")
        hours = msgspec.structs.replace(usual.policy.hours, weekly=(Opening(opens="06:00", closes="24:00"),))
        own = msgspec.structs.replace(usual, policy=msgspec.structs.replace(usual.policy, hours=hours), version=9)
        records.put_document(tx, "profile", SITE, SITE, 9, records.text(own))
        for number, change in ((3, {"active": False}), (4, {"capacity": 12})):
            bay = records.resource(tx, f"{SITE}.box-{number}")
            new = msgspec.structs.replace(bay, version=bay.version + 1, **change)
            records.put_document(tx, "resource", bay.id, SITE, new.version, records.text(new))
        for customer in CUSTOMERS.values():
            records.put_customer(tx, customer)

    db.write_now(write)


def furnish(w: HubWorld) -> None:
    furnish_books(w.db)
    furnish_books(w.site.db)


# ---- wishes at the hub
def person(n: int) -> dict[str, str]:
    return {"name": f"Testa Birdie {n}", "phone": f"902-555-{1000 + n}"}


async def wish(w: HubWorld, case: Case, n: int) -> dict:
    """The body of a booking without its id, by somebody who has booked nothing yet. What is to be taken is taken by somebody else."""
    if not case.rules:
        await occupy(w, case.start, case.bay)
    who = {"customer_id": case.who} if case.who else {"customer": person(n)}
    return {**who, **w.time(case.bay, case.start, case.length), "guests": case.guests}


async def occupy(w: HubWorld, start: int, bay: int = 1) -> None:
    await booked(w, 900 + start, bay=bay, start=start)


async def booked(w: HubWorld, n: int, *, bay: int = 2, start: int = 0) -> str:
    """The id of a booking that stands, of somebody who has no other."""
    booking_id = f"standing-{n:06d}"
    made = await w.post("/bookings", {"customer": person(n), **w.time(bay, start or FAR + 200 + 4 * n), "booking_id": booking_id})
    assert made.status_code == 201, made.text
    return booking_id


async def checked(w: HubWorld, time: dict) -> dict:
    asked = urlencode({name: time[name] for name in ("resource_id", "start", "end")})
    return (await w.get(f"/availability/check?{asked}")).json()


# ---- answers
def price_of(answer: dict) -> int:
    """What was made costs: at the hub a booking or an order, at the site what came of it."""
    made = answer.get("bookings") or [answer.get("booking", answer)]
    return sum(one["price"]["total_cents"] for one in made)


def hours(way: dict) -> float:
    start, end = (datetime.fromisoformat(way[name].replace("Z", "+00:00")) for name in ("start", "end"))
    return (end - start).total_seconds() / 3600
