"""Nobody came, and the rest of the time is sold to who did: by staff, by the house's rule, to a guest at the kiosk (B15)."""

import msgspec
import pytest

from shared.ledger import lines, records
from shared.policy import Presence
from tests.site_agent.site_world import NOON, SITE, SiteWorld, away, code_of
from tests.site_agent.test_checkin import come
from tests.site_agent.test_presence import QUARTER, bays, check_in, panel, pass_by, say, visit

__all__ = ["bays"]

TOLD = (
    "Testa B. did not come: no check-in, no PIN or code used at a door, nobody in the bay until 15 minutes after the start; the rest from"
    " 13:00 is on sale."
)
TOO_LATE = "Nobody had come for this booking, so its time from 13:00 on was put on sale again. Please call 902-555-0100, who can help you."


def wants(world: SiteWorld, **rule) -> None:
    """The house's policy from now on."""
    houses = world.kit.presence._houses
    policy = msgspec.structs.replace(houses._fallback.policy, presence=Presence(**rule))
    houses._fallback = msgspec.structs.replace(houses._fallback, policy=policy)
    houses._houses.clear()


def sell_rest(world: SiteWorld, booking_id: str):
    return world.staff.post(f"/api/bookings/{booking_id}/sell-rest")


async def now(world: SiteWorld, one: dict) -> dict:
    """The booking that stands in the place of this one, or it itself."""
    found = (await world.staff.get(f"/api/bookings/{one['id']}")).json()
    return await now(world, {"id": found["replaced_by"]}) if found.get("replaced_by") else found


async def test_by_the_houses_rule_the_rest_is_sold_and_its_buyer_comes_in_while_the_door_forgets_the_other(world, bays):
    wants(world, resell_min=20)
    one = await world.booked(1, 1, 4)
    await pass_by(world, 46)
    assert visit(world, one).state == "no_show" and (await panel(world))["visits"][0]["rest_from"] == "13:00"
    await pass_by(world, 3)
    short = await now(world, one)
    assert (short["start"], short["end"], short["status"], short["price"]) == (one["start"], world.at(2), "no_show", one["price"])
    [told] = (await panel(world))["visits"]
    assert (told["booking_id"], told["told"], told["rest_from"]) == (short["id"], TOLD, "")
    assert any(
        row[1:5] == ("presence", "rest of a no-show on sale", one["id"], f"from 13:00, now {short['id']}") for row in world.journal()
    )
    sold = await world.kiosk.post("/api/bookings", world.wish(1, 2, 2, name="Testa Bogey"))
    assert sold.status_code == 201
    await world.kit.credentials.settle()
    doors = {c.booking_id: (c.pin, c.opens_at, c.closes_at) for c in world.doors.visitors.values()}
    buyer = sold.json()["booking"]
    assert doors == {
        short["id"]: (one["pin"], NOON + 900, NOON + 3600 + 900),
        buyer["id"]: (buyer["pin"], NOON + 3600 - 900, NOON + 7200 + 900),
    }
    assert (await come(world, buyer["pin"])).json()["until"] == "14:00"
    for minutes in (13, 17):  # at once, and when the door would not open any more either
        await pass_by(world, minutes)
        for code in (one["pin"], one["pass"]):
            late = await come(world, code)
            assert code_of(late) == (403, "pass_expired") and late.json()["detail"] == TOO_LATE
    assert visit(world, short).state == "no_show" and visit(world, buyer).state == "checked_in"


async def test_who_comes_before_the_rest_begins_is_let_in_by_what_they_have_and_pays_nothing_more_while_nobody_else_does(world, bays):
    wants(world, resell_min=20)
    one = await world.booked(1, 1, 4)
    await pass_by(world, 50)
    came = await come(world, one["pass"])
    assert (came.status_code, came.json()["bay"], came.json()["until"]) == (200, "Box 1", "13:00")
    bays.playing[1] = True
    await pass_by(world, 40)
    [over] = (await panel(world))["overtime"]
    assert (over["minutes"], over["cents"], over["going_on"]) == (11, 0, True)
    await pass_by(world, 75)  # beyond what was paid for
    [over] = (await panel(world))["overtime"]
    assert over["cents"] == 2 * QUARTER, "17 minutes"
    assert len(await named(world, "rest of a no-show on sale")) == 1


async def test_who_has_part_of_the_time_back_stays_for_nothing_as_long_as_they_paid_for(world, bays):
    wants(world, resell_min=20)
    one = await world.booked(1, 1, 8)
    await pass_by(world, 50)
    await come(world, one["pin"])
    longer = await world.staff.post(f"/api/bookings/{(await now(world, one))['id']}/extend", {"booking_id": "longer-01", "minutes": 30})
    assert (longer.json()["booking"]["end"], longer.json()["booking"]["price"]) == (world.at(3), one["price"])
    bays.playing[1] = True
    await pass_by(world, 60)
    [over] = (await panel(world))["overtime"]
    assert (over["booking_id"], over["minutes"], over["cents"]) == ("longer-01", 11, 0)


async def named(world: SiteWorld, what: str) -> list[tuple]:
    return [row for row in world.journal() if row[2] == what]


@pytest.mark.parametrize(
    "why",
    [
        "the house does not want it", "it waits longer", "staff say otherwise", "somebody plays there", "nothing by rule", "the bay is not heard",
        "the doors are not heard", "one of the party has come",
    ],
)  # fmt: skip
async def test_by_itself_nothing_is_sold_where(world, bays, why):
    rule = {
        "the house does not want it": {},
        "it waits longer": {"resell_min": 60},
        "nothing by rule": {"by_rule": False, "resell_min": 20},
    }
    wants(world, **rule.get(why, {"resell_min": 20}))
    one = await world.booked(1, 1, 6, phone="902-555-0177")
    other = await world.booked(2, 1, phone="902-555-0177")
    await pass_by(world, 46)
    if why == "staff say otherwise":
        await say(world, one, "none")
    elif why == "nothing by rule":
        await say(world, one, "no_show")
    elif why == "somebody plays there":
        bays.playing[1] = True
    elif why == "the bay is not heard":
        bays.playing[1] = None
    elif why == "the doors are not heard":
        world.doors.failure = away()
    elif why == "one of the party has come":
        await check_in(world, other)
    await pass_by(world, 15)
    assert (await now(world, one))["id"] == one["id"]
    assert one["id"] not in [row[3] for row in await named(world, "rest of a no-show on sale")]
    if why == "somebody plays there":
        bays.playing[1] = False
        await pass_by(world, 1)
        assert (await now(world, one))["end"] == world.at(3), "they have gone"


async def test_the_rest_of_what_was_sold_into_a_running_half_hour_waits_from_its_sale(world, bays):
    wants(world, resell_min=20)
    await pass_by(world, 46)
    one = await world.booked(1, 1, 6)
    await pass_by(world, 19)
    assert visit(world, one).state == "no_show" and (await now(world, one))["id"] == one["id"]
    await pass_by(world, 2)
    assert (await now(world, one))["end"] == world.at(3)


async def test_what_staff_have_said_to_be_a_no_show_is_sold_by_rule_too_and_stays_their_word(world, bays):
    wants(world, resell_min=20)
    one = await world.booked(1, 1, 4)
    await pass_by(world, 32)
    await say(world, one, "no_show")
    await pass_by(world, 20)
    short = await now(world, one)
    a = visit(world, short)
    assert short["end"] == world.at(2) and (a.state, a.said, a.by, a.how) == (
        "no_show",
        True,
        "staff-ada",
        "said by Ada Example; the rest from 13:00 is on sale",
    )
    # from a page that has not heard of it yet
    assert (await say(world, one, "none")).json()["status"] == "confirmed" and visit(world, short).state == "", "and may take it back"
    assert (await check_in(world, one)).json()["until"] == "13:00" and visit(world, short).state == "checked_in"


async def test_staff_put_the_rest_on_sale_where_there_is_one_and_are_told_why_not(world):
    one, last, far, coming = await world.booked(1, 1, 4), await world.booked(2, 0), await world.booked(1, 90, 4), await world.booked(3, 1)
    await world.booked(2, 2)
    world.clock.forward(46 * 60)
    for gone in (one, last, far):
        await say(world, gone, "no_show")
    shown = {name: (await now(world, x)).get("rest_from", "") for name, x in {"one": one, "last": last, "coming": coming}.items()}
    assert shown == {"one": world.at(2), "last": "", "coming": ""}
    said = {}
    for name, booking_id in {"nobody": "nothing-here", "coming": coming["id"], "last": last["id"]}.items():
        answer = await sell_rest(world, booking_id)
        said[name] = (*code_of(answer), answer.json()["detail"])
    assert said == {
        "nobody": (404, "booking_not_found", "This booking is not known."),
        "coming": (409, "illegal_move", "Only where a guest who had a bay did not come, the rest of the time can be sold."),
        "last": (409, "illegal_move", "Too little of this time is left to be sold."),
    }
    sold = await sell_rest(world, one["id"])
    assert sold.status_code == 200 and (sold.json()["end"], sold.json()["status"], sold.json()["replaces"]) == (
        world.at(2),
        "no_show",
        one["id"],
    )
    assert (await sell_rest(world, one["id"])).json()["id"] == sold.json()["id"], "the same again"
    [row] = await named(world, "rest of a no-show on sale")
    assert row[1] == "staff-ada"
    world.clock.forward(3600)
    over = await sell_rest(world, last["id"])
    assert over.json()["detail"] == "This booking is over, so nothing of its time is left to sell."
    viewer = await world.signed_in("vi")
    assert (await viewer.post(f"/api/bookings/{far['id']}/sell-rest")).status_code == 403


async def test_of_what_the_hub_sold_the_rest_is_sold_here_in_a_cut_and_both_books_are_equal_after_it(linked):
    w = linked
    sold, beyond = w.hub.sell(2, 5, 2), w.hub.sell(3, 40)
    await w.quiet()
    w.clock.forward(125 * 60)
    w.hub.db.write_now(lambda tx: lines.release(tx, w.hub.desk, SITE, link_fresh=True))
    await w.quiet()
    w.cut()
    w.clock.forward(45 * 60)
    for b in (sold, beyond):
        assert (await say(w, {"id": b.id}, "no_show")).status_code == 200
    assert code_of(await sell_rest(w, beyond.id)) == (409, "not_mine")
    short = (await sell_rest(w, sold.id)).json()
    assert (short["start"], short["end"]) == (w.at(5), w.at(6))
    other = await w.kiosk.post("/api/bookings", w.wish(2, 6, 2))
    assert other.status_code == 201
    w.network.heal("site")
    await w.linked()
    books = [
        {b.id: (b, records.attendance(tx, b.id)) for b in records.bookings_where(tx, "site_id = :s", {"s": SITE})}
        for tx in (db.read(lambda tx: tx) for db in (w.db, w.hub.db))
    ]
    assert books[0] == books[1] and len(books[0]) == 4
    assert [books[1][i][0].status for i in (sold.id, short["id"], other.json()["booking"]["id"])] == ["cancelled", "confirmed", "confirmed"]
    assert not any(b.displaced for b, _ in books[1].values()) and books[1][short["id"]][1].state == "no_show"
