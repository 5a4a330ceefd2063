"""Refusals at the site: the kiosk offers what can be had (B13), and the rules that stood in the way are counted and told to the hub (R10)."""

import re
import uuid

from shared.ledger import records, rule_hits
from shared.model import Customer, Restriction
from tests.site_agent.site_world import NOON, SITE, SiteWorld, csrf_of

WAY = re.compile(r'<a class="way" href="([^"]+)"><span>([^<]+)</span> <strong>([^<]+)</strong>')


async def counted(world: SiteWorld) -> dict[tuple[str, str, str], int]:
    """(code, customer, channel) -> hits, of what has been written down."""
    await world.kit.rule_tally.flush()
    return {tuple(row[:3]): row[3] for row in world.db.read(lambda tx: tx.all("SELECT code, customer_id, channel, hits FROM rule_hits"))}


def details(page: str, **more) -> dict[str, str]:
    usual = {
        "csrf_token": csrf_of(page), "resource_id": f"{SITE}.box-1", "start": str(NOON // 900 + 8), "minutes": "60",
        "booking_id": str(uuid.uuid4()), "name": "Testa Birdie", "phone": "902-555-0142", "guests": "1",
    }  # fmt: skip
    return {**usual, **more}


# ---- the kiosk
async def test_a_rule_stands_in_the_way_at_the_kiosk_and_three_priced_times_are_a_touch_away(world):
    screen = await world.screen()
    page = (await screen.get("/kiosk/book")).text
    no = await screen.form("/kiosk/review", **details(page, minutes="390"))
    ways = WAY.findall(no.text)
    assert no.status_code == 409 and "at most 6 hours" in no.text and len(ways) == 3 and all(price.startswith("$") for _, _, price in ways)
    there = await screen.get(ways[0][0].replace("&amp;", "&"))
    assert there.status_code == 200 and "How long?" in there.text
    assert await counted(world) == {("duration_too_long", "", "kiosk"): 1}


async def test_a_time_that_is_gone_when_it_is_touched_is_answered_with_others(world):
    await world.booked(1, 4)
    screen = await world.screen()
    for answer in (
        await screen.get(f"/kiosk/book/{SITE}.box-1?start={NOON // 900 + 8}"),
        await screen.form("/kiosk/review", **details((await screen.get("/kiosk/book")).text)),
    ):
        assert answer.status_code == 409 and len(WAY.findall(answer.text)) == 3, answer.text
    assert await counted(world) == {}, "that is no matter of rules"


async def test_a_guest_who_may_not_book_is_told_so_counted_and_offered_nothing(world):
    banned = Customer(id="testa-banned", name="Testa Birdie", phone="902-555-0142", restrictions=(Restriction(kind="ban"),))
    world.db.write_now(lambda tx: records.put_customer(tx, banned))
    screen = await world.screen()
    no = await screen.form("/kiosk/review", **details((await screen.get("/kiosk/book")).text))
    assert no.status_code == 409 and "cannot book here at present" in no.text and not WAY.findall(no.text)
    assert await counted(world) == {("customer_blocked", "testa-banned", "kiosk"): 1}


# ---- counting
async def test_sales_changes_and_extensions_are_counted_once_for_whose_they_are(world):
    old = await world.booked(1, 4)
    who = world.db.read(lambda tx: records.booking(tx, old["id"])).customer_id
    await world.staff.post("/api/bookings", world.wish(1, 10.5))
    await world.staff.post(f"/api/bookings/{old['id']}/reschedule", {
        "booking_id": str(uuid.uuid4()), "resource_id": f"{SITE}.box-1", "start": world.at(10.5), "end": world.at(12.5)})  # fmt: skip
    await world.staff.post(f"/api/bookings/{old['id']}/extend", {"booking_id": str(uuid.uuid4()), "minutes": 360})
    assert await counted(world) == {
        ("off_grid", "", "staff"): 1, ("off_grid", who, "staff"): 1, ("duration_too_long", who, "staff"): 1
    }  # fmt: skip


async def test_a_price_that_is_only_asked_for_is_no_refusal(world):
    wish = world.wish(1, 10.5)
    told = await world.staff.post("/api/quotes", {name: wish[name] for name in ("resource_id", "start", "end")})
    assert [one["code"] for one in told.json()["violations"]] == ["off_grid"] and await counted(world) == {}


async def test_the_hub_is_told_as_the_counts_stand(linked):
    await linked.staff.post("/api/bookings", linked.wish(1, 10.5))
    await linked.kit.rule_tally.flush()
    upkeep = linked.agent._upkeep
    assert await upkeep.tell_refusals() == 1 and await upkeep.tell_refusals() == 0
    await linked.quiet()
    [found] = linked.hub.db.read(lambda tx: rule_hits.by_rule(tx, SITE, NOON, 30))
    assert (found.code, found.hits, found.channel) == ("off_grid", 1, "staff")


async def test_metrics_count_by_rule_and_what_waits_is_written_when_the_agent_stops(world):
    await world.staff.post("/api/bookings", world.wish(1, 10.5))
    assert 'site_refusals_total{rule="off_grid"} 1.0' in world.kit.metrics.render().decode()
    await world.kit.rule_tally.stop()
    assert world.db.read(lambda tx: tx.one("SELECT COUNT(*) FROM rule_hits")) == (1,)


async def test_a_known_customers_own_price_is_in_the_ways_out(world):
    member = Customer(id="testa-member", name="Testa Birdie", phone="902-555-0142", tags=("club_plus",))
    world.db.write_now(lambda tx: records.put_customer(tx, member))
    await world.booked(1, 4)
    no = await world.kiosk.post("/api/bookings", {**world.wish(1, 4), "phone": "902-555-0142"})
    assert {way["total_cents"] for way in no.json()["suggestions"]} == {2993}, "25 % off on a Saturday"
