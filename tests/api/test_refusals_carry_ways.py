"""Every "no" to a booking or a change names each broken rule, and where another time or bay would help three that can be had at a price:
whoever takes the first of them gets it, at that price (B13). Path by path, rule by rule, at the hub and at the site.
"""

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import msgspec
import pytest

from shared.ledger import holds, records, standing
from shared.model import Hold
from tests.api import whole_hub as houses
from tests.api.whole_hub import CASES, CUSTOMERS, FAR, Case
from tests.cloud_hub.hub_world import NOON, SITE, HubWorld
from tests.cloud_hub.hub_world import opened as hub_opened
from tests.site_agent.site_world import SiteWorld
from tests.site_agent.site_world import opened as site_opened

Take = Callable[[dict], Awaitable[httpx.Response]]


@pytest.fixture
async def w(tmp_path) -> AsyncIterator[HubWorld]:
    async with hub_opened(tmp_path) as world:
        houses.furnish(world)
        yield world


@pytest.fixture
async def site(tmp_path) -> AsyncIterator[SiteWorld]:
    async with site_opened(tmp_path) as world:
        houses.furnish_books(world.db)
        yield world


async def first_way(case: Case, no: httpx.Response, take: Take) -> tuple[int, int]:
    """The refusal is as it should be, and its first way out is one: what it is offered for, and what whoever takes it pays (0 and 0 where there can be none)."""
    body, told = no.json(), f"{case.name}: {no.text}"
    assert no.status_code in (403, 409, 422), told
    named = body.get("violations", ())
    assert set(case.rules) <= {(one["rule"], one["code"]) for one in named} and all(one["message"] for one in named), told
    ways = body.get("suggestions", [])
    if not case.mendable:
        assert not ways, told
        return 0, 0
    assert len(ways) == 3 and all(way["total_cents"] > 0 and way["currency"] == "CAD" for way in ways), told
    assert len({(way["resource_id"], way["start"]) for way in ways}) == 3, told
    taken = await take(ways[0])
    assert taken.status_code in (200, 201), f"{case.name}, taking {ways[0]}: {taken.text}"
    return ways[0]["total_cents"], houses.price_of(taken.json())


def place(way: dict) -> dict:
    return {name: way[name] for name in ("resource_id", "start", "end")}


ids = itertools.count(1)


def new_id() -> str:
    return f"booking-{next(ids):06d}"


# ---- the hub's API
async def test_a_booking_over_the_api(w):
    for n, case in enumerate(CASES):
        wish = await houses.wish(w, case, n)
        no = await w.post("/bookings", {**wish, "booking_id": new_id()})
        offered, paid = await first_way(
            case, no, lambda way, wish=wish: w.post("/bookings", {**wish, **place(way), "booking_id": new_id()})
        )
        assert offered == paid, case.name


async def test_a_group_over_the_api(w):
    for n, case in enumerate(CASES):
        if case.name == "too many guests":
            continue  # no group of the house's bays takes so many
        wish = await houses.wish(w, case, n)
        time = {name: wish.pop(name) for name in ("resource_id", "start", "end")}

        def parts(places: list[dict]) -> list[dict]:
            return [{**place(one), "booking_id": new_id()} for one in places]

        beside = {**time, "resource_id": f"{SITE}.box-2"}
        no = await w.post("/bookings", {**wish, "parts": parts([time, beside])})
        for way in no.json().get("suggestions", []):
            assert len({part["resource_id"] for part in way["parts"]}) == 2 and place(way["parts"][0]) == place(way)
        offered, paid = await first_way(
            case, no, lambda way, wish=wish, parts=parts: w.post("/bookings", {**wish, "parts": parts(way["parts"])})
        )
        assert offered == paid, case.name


async def test_a_quote_and_a_look_over_the_api(w):
    for n, case in enumerate(CASES):
        if not case.rules:
            continue  # a price is told for a time that is taken, too
        wish = await houses.wish(w, case, n)
        asked = {**place(wish), "guests": wish.get("guests", 1)}
        if case.who:
            asked["customer_id"] = case.who
        told = (await w.post("/pricing/quote", asked)).json()
        assert set(case.rules) <= {(one["rule"], one["code"]) for one in told["violations"]}, case.name
        assert len(told["suggestions"]) == (3 if case.mendable else 0), case.name
        if case.mendable:
            again = (await w.post("/pricing/quote", {**asked, **place(told["suggestions"][0])})).json()
            assert not again["violations"] and again["price"]["total_cents"] == told["suggestions"][0]["total_cents"]
    taken = await houses.checked(w, await houses.wish(w, houses.TAKEN, 99))
    assert taken["how"] == "taken" and len(taken["suggestions"]) == 3
    assert (await houses.checked(w, taken["suggestions"][0]))["available"]


async def test_a_hold_over_the_api(w):
    for n, case in enumerate(one for one in CASES if not one.rules):
        wish = await houses.wish(w, case, n)
        no = await w.post("/holds", {**place(wish), "hold_id": new_id()})
        body = no.json()
        assert no.status_code == 409 and len(body["suggestions"]) == 3, no.text
        assert (await w.post("/holds", {**place(body["suggestions"][0]), "hold_id": new_id()})).status_code == 201, case.name


async def test_a_change_over_the_api(w):
    for n, case in enumerate(CASES):
        if case.who or case.name == "too many guests":
            continue  # whoever may not book has nothing to change, and a change adds nobody
        wish = await houses.wish(w, case, n)
        old = await houses.booked(w, n)
        no = await w.post(f"/bookings/{old}/reschedule", {**place(wish), "booking_id": new_id()})
        offered, paid = await first_way(
            case, no, lambda way, old=old: w.post(f"/bookings/{old}/reschedule", {**place(way), "booking_id": new_id()})
        )
        assert offered == paid, case.name


async def test_the_price_of_a_changed_way_has_the_fee_of_the_change_in_it(w):
    old = await houses.booked(w, 1)
    moved = await w.post(f"/bookings/{old}/reschedule", {**w.time(1, FAR + 200), "booking_id": new_id()})
    again = moved.json()["id"]
    await houses.occupy(w, FAR + 300)
    no = await w.post(f"/bookings/{again}/reschedule", {**w.time(1, FAR + 300), "booking_id": new_id()})
    [way, *_] = no.json()["suggestions"]
    taken = await w.post(f"/bookings/{again}/reschedule", {**place(way), "booking_id": new_id()})
    assert taken.json()["price"]["total_cents"] == way["total_cents"] and "fee" in {line["code"] for line in taken.json()["price"]["lines"]}
    limit = await w.post(f"/bookings/{taken.json()['id']}/reschedule", {**w.time(1, FAR + 400), "booking_id": new_id()})
    assert [one["rule"] for one in limit.json()["violations"]] == ["R7"] and not limit.json().get("suggestions")


@pytest.mark.parametrize("why", ["taken", "too long", "no step"])
async def test_an_extension_over_the_api(w, why):
    old = await houses.booked(w, 1, bay=1, start=FAR)
    minutes = {"taken": 60, "too long": 360, "no step": 45}[why]
    if why == "taken":
        await houses.occupy(w, FAR + 4)
    no = await w.post(f"/bookings/{old}/extend", {"booking_id": new_id(), "minutes": minutes})
    rules = {"taken": (), "too long": (("R2", "duration_too_long"),), "no step": (("R2", "duration_step"),)}[why]
    offered, paid = await first_way(
        Case(f"extend, {why}", rules), no, lambda way: w.post(f"/bookings/{old}/reschedule", {**place(way), "booking_id": new_id()})
    )
    assert offered == paid


async def test_an_extension_of_a_visit_that_has_begun_offers_the_added_time_as_a_booking_of_its_own(w):
    old = await houses.booked(w, 1, bay=1, start=FAR)
    await houses.occupy(w, FAR + 4)
    w.clock.forward((FAR + 1) * 900)
    await w.linked()
    no = await w.post(f"/bookings/{old}/extend", {"booking_id": new_id(), "minutes": 60})
    person = {"name": "Testa Birdie 77", "phone": "902-555-0177"}
    offered, paid = await first_way(
        Case("extend, begun"), no, lambda way: w.post("/bookings", {"customer": person, **place(way), "booking_id": new_id()})
    )
    assert offered == paid


async def test_what_the_facility_declines(w):
    near = 16  # 16:00, which the site sells
    wish = {"customer": {"name": "Testa Birdie 5", "phone": "902-555-0105"}, **w.time(1, near)}
    slot = NOON // 900 + near
    at_the_kiosk = Hold(id="hold-at-the-kiosk", site_id=SITE, resource_id=f"{SITE}.box-1", start=slot, end=slot + 4)
    w.site.db.write_now(lambda tx: holds.hold(tx, w.site.desk, at_the_kiosk, link_up=True))
    no = await w.post("/bookings", {**wish, "booking_id": new_id()})
    assert no.json()["code"] == "slot_taken"
    offered, paid = await first_way(Case("declined"), no, lambda way: w.post("/bookings", {**wish, **place(way), "booking_id": new_id()}))
    assert offered == paid


async def test_while_the_facility_is_dark_only_what_the_hub_can_sell_is_offered(w):
    w.cut()
    await w.until(lambda: not w.hub.links.up(SITE))
    wish = {"customer": {"name": "Testa Birdie 6", "phone": "902-555-0106"}, **w.time(1, 16)}
    no = await w.post("/bookings", {**wish, "booking_id": new_id()})
    assert no.json()["code"] == "site_unreachable" and all(way["instant"] for way in no.json()["suggestions"])
    offered, paid = await first_way(Case("dark"), no, lambda way: w.post("/bookings", {**wish, **place(way), "booking_id": new_id()}))
    assert offered == paid


async def test_a_halted_bay(w):
    await w.db.write(lambda tx: standing.halt(tx, w.hub.desk, SITE, f"{SITE}.box-1", "its books are not sound"))
    wish = {"customer": {"name": "Testa Birdie 8", "phone": "902-555-0108"}, **w.time(1, FAR)}
    no = await w.post("/bookings", {**wish, "booking_id": new_id()})
    assert no.json()["code"] == "bay_halted" and f"{SITE}.box-1" not in {way["resource_id"] for way in no.json()["suggestions"]}
    offered, paid = await first_way(Case("halted"), no, lambda way: w.post("/bookings", {**wish, **place(way), "booking_id": new_id()}))
    assert offered == paid


# ---- the site's API
def near_wish(site: SiteWorld, case: Case, n: int) -> dict:
    """The same at the site, which sells box 1 for 48 hours; times in half hours."""
    start, length = case.near
    return {**site.wish(case.bay, start, length), "guests": case.guests, "phone": f"902-555-{2000 + n}", "name": f"Testa Birdie {n}"}


SITE_CASES = [case for case in CASES if case.near]


@pytest.mark.parametrize("channel", ["staff", "kiosk"])
async def test_a_booking_at_the_site(site, channel):
    client = getattr(site, channel)
    for n, case in enumerate(SITE_CASES):
        wish = near_wish(site, case, n)
        if not case.rules:
            await site.booked(case.bay, *case.near)
        if case.who:
            known = msgspec.structs.replace(CUSTOMERS[case.who], phone=wish["phone"])
            site.db.write_now(lambda tx, c=known: records.put_customer(tx, c))
        no = await client.post("/api/bookings", wish)
        offered, paid = await first_way(
            case, no, lambda way, wish=wish: client.post("/api/bookings", {**wish, **place(way), "booking_id": new_id()})
        )
        assert offered == paid, case.name


async def test_a_quote_at_the_site(site):
    for n, case in enumerate(one for one in SITE_CASES if one.rules and not one.who):
        wish = near_wish(site, case, n)
        asked = {**place(wish), "guests": wish["guests"]}
        told = (await site.staff.post("/api/quotes", asked)).json()
        assert set(case.rules) <= {(one["rule"], one["code"]) for one in told["violations"]}, case.name
        assert len(told["suggestions"]) == (3 if case.mendable else 0), case.name
        if case.mendable:
            again = (await site.staff.post("/api/quotes", {**asked, **place(told["suggestions"][0])})).json()
            assert not again["violations"] and again["price"]["total_cents"] == told["suggestions"][0]["total_cents"]


async def test_a_hold_at_the_site(site):
    await site.booked(1, 4)
    no = await site.kiosk.post("/api/holds", {**place(site.wish(1, 4)), "hold_id": new_id()})
    ways = no.json()["suggestions"]
    assert no.status_code == 409 and len(ways) == 3
    assert (await site.kiosk.post("/api/holds", {**place(ways[0]), "hold_id": new_id()})).status_code == 201


async def test_a_change_at_the_site(site):
    for n, case in enumerate(one for one in SITE_CASES if not one.who and one.name != "too many guests"):
        old = await site.booked(1, 44 + 2 * n)
        wish = near_wish(site, case, n)
        if not case.rules:
            await site.booked(case.bay, *case.near)
        asked = {**place(wish), "booking_id": new_id()}
        no = await site.staff.post(f"/api/bookings/{old['id']}/reschedule", asked)
        offered, paid = await first_way(
            case, no,
            lambda way, old=old: site.staff.post(f"/api/bookings/{old['id']}/reschedule", {**place(way), "booking_id": new_id()}),
        )  # fmt: skip
        assert offered == paid, case.name


async def test_an_extension_at_the_site_before_and_after_its_start(site):
    old = await site.booked(1, 4)
    await site.booked(1, 6)
    no = await site.staff.post(f"/api/bookings/{old['id']}/extend", {"booking_id": new_id(), "minutes": 60})
    assert len(no.json()["suggestions"]) == 3 and no.json()["code"] == "slot_taken"
    long = no.json()["suggestions"][0]
    assert houses.hours(long) == 2, "the whole time, elsewhere"
    site.clock.forward(4 * 1800 + 60)
    no = await site.staff.post(f"/api/bookings/{old['id']}/extend", {"booking_id": new_id(), "minutes": 60})
    assert houses.hours(no.json()["suggestions"][0]) == 1, "the added time, as a booking of its own"
    wish = site.wish(1, 0)
    offered, paid = await first_way(Case("begun"), no, lambda way: site.staff.post("/api/bookings", {**wish, **place(way)}))
    assert offered == paid


async def test_far_times_at_a_site_on_its_own(site):
    no = await site.kiosk.post("/api/bookings", site.wish(2, 300))
    assert no.json()["code"] == "hub_unreachable"
    wish = site.wish(2, 300)
    offered, paid = await first_way(
        Case("far"), no, lambda way: site.kiosk.post("/api/bookings", {**wish, **place(way), "booking_id": new_id()})
    )
    assert offered == paid


# ---- what a closed house, an unknown bay and an unknown customer get
async def test_where_no_other_time_helps_nothing_is_offered(w, site):
    unknown = await w.post("/bookings", {**w.wish(1, FAR), "resource_id": f"{SITE}.box-99"})
    assert unknown.status_code == 404 and not unknown.json().get("suggestions")
    nobody = {**w.wish(1, FAR), "customer_id": "nobody-known"}
    del nobody["customer"]
    assert (await w.post("/bookings", nobody)).json()["code"] == "customer_not_found"
    await w.db.write(lambda tx: standing.halt(tx, w.hub.desk, SITE, "", "the books are not sound"))
    halted = await w.post("/bookings", w.wish(1, FAR))
    assert halted.json()["code"] == "bay_halted" and not halted.json().get("suggestions"), "nobody could take one"
    assert (await site.staff.post("/api/bookings", {**site.wish(1, 0), "resource_id": f"{SITE}.box-99"})).status_code == 404
