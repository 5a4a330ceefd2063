"""A bay goes out of service: its guests are put elsewhere by rule or by staff, find the door open there, and the day goes on (B12)."""

import asyncio
import uuid

from tests.site_agent.site_world import NOON, SITE, code_of


async def blocked(world, bay: int, start: float, length: float = 4, reason: str = "lamp") -> None:
    wanted = {"block_id": str(uuid.uuid4()), "resource_id": f"{SITE}.box-{bay}", "start": world.at(start), "end": world.at(start + length)}
    answer = await world.staff.post("/api/blocks", {**wanted, "kind": "maintenance", "reason": reason})
    assert answer.status_code == 201, answer.text


async def queue(world, asker=None) -> list[dict]:
    return (await (asker or world.staff).get("/api/conflicts")).json()


def press(way: dict, **more) -> dict:
    return {"booking_id": str(uuid.uuid4()), **{name: way[name] for name in ("resource_id", "start", "end")}, **more}


async def test_who_loses_a_bay_is_put_elsewhere_by_rule_and_the_journal_says_so(world):
    booking = await world.booked(1, 2)
    await blocked(world, 1, 2)
    assert await world.kit.placing.run() == 1 and await queue(world) == []
    [new] = [b for b in (await world.staff.get("/api/bookings", date="2026-11-21")).json() if b["status"] == "confirmed"]
    assert (new["placed"], new["replaces"], new["bay"], new["clock"]) == (True, booking["id"], "Box 2", booking["clock"])
    assert (new["pin"], new["price"], new["name"], new["order_id"]) == (
        booking["pin"],
        booking["price"],
        booking["name"],
        booking["order_id"],
    )
    assert any(row[1:4] == ("rule", "placed elsewhere", booking["id"]) for row in world.journal())
    [item] = [one for one in (await world.staff.get("/api/board", date="2026-11-21")).json()["items"] if one["kind"] == "booking"]
    assert item["tone"] == "staff" and item["detail"].endswith(", moved here by us")


async def test_the_pin_opens_the_doors_of_the_new_bay(world):
    booking = await world.booked(1, 2)
    await world.until(lambda: world.doors.visitors)
    await blocked(world, 1, 2)
    await world.kit.placing.run()
    await world.until(lambda: [c.resource_id for c in world.doors.visitors.values()] == [f"{SITE}.box-2"])
    [credential] = world.doors.visitors.values()
    assert credential.pin == booking["pin"] and credential.booking_id != booking["id"]


async def test_the_kiosk_lets_in_at_the_new_bay_by_the_old_pin_and_by_the_old_pass(world):
    booking = await world.booked(1, 2)
    await blocked(world, 1, 2)
    await world.kit.placing.run()
    world.clock.forward(3600)
    came = await world.kiosk.post("/api/check-in", {"code": booking["pass"]})
    assert came.status_code == 200 and came.json()["bay"] == "Box 2" and came.json()["booking"]["id"] != booking["id"]
    again = await world.kiosk.post("/api/check-in", {"code": booking["pin"]})
    assert again.status_code == 200 and (again.json()["bay"], again.json()["again"]) == ("Box 2", True)


async def test_the_pass_of_a_booking_that_its_guest_gave_up_opens_nothing(world):
    booking = await world.booked(1, 0)
    moved = {"booking_id": str(uuid.uuid4()), "resource_id": f"{SITE}.box-3", "start": world.at(0), "end": world.at(2)}
    assert (await world.staff.post(f"/api/bookings/{booking['id']}/reschedule", moved)).status_code == 201
    assert code_of(await world.kiosk.post("/api/check-in", {"code": booking["pass"]})) == (409, "already_cancelled")


async def test_every_conflict_shows_who_why_and_all_ways_and_staff_may_take_any_of_them_at_any_time(world):
    booking = await world.booked(1, 20)
    await blocked(world, 1, 20, reason="net torn")
    [conflict] = await queue(world)
    assert (conflict["booking"]["id"], conflict["why"], conflict["reason"], conflict["asked"]) == (booking["id"], "block", "net torn", "")
    kinds = [way["kind"] for way in conflict["ways"]]
    assert kinds == sorted(kinds, key=["same_time", "same_bay", "other_bay"].index) and len(kinds) >= 4
    way = next(way for way in conflict["ways"] if way["kind"] == "same_bay")
    assert (way["possible"], way["asks"], way["here"]) == (True, False, False)
    wish = press(way)
    answer = await world.staff.post(f"/api/conflicts/{booking['id']}/place", wish)
    assert answer.status_code == 201 and answer.json()["state"] == "done"
    new = answer.json()["booking"]
    assert (new["id"], new["start"], new["price"], new["pin"]) == (wish["booking_id"], way["start"], booking["price"], booking["pin"])
    assert await queue(world) == []
    again = await world.staff.post(f"/api/conflicts/{booking['id']}/place", wish)
    assert again.json()["booking"]["id"] == new["id"], "the same press again is the same booking"
    assert any(row[1:4] == ("staff-ada", "placed elsewhere", booking["id"]) for row in world.journal())


async def test_near_the_start_the_one_button_seats_the_guest_who_keeps_the_booking(world):
    booking = await world.booked(1, 1)
    await blocked(world, 1, 1)
    [conflict] = await queue(world)
    way = conflict["ways"][0]
    assert way["here"] and way["kind"] == "same_time"
    for _ in range(2):
        answer = await world.staff.post(f"/api/conflicts/{booking['id']}/place", press(way))
        assert answer.status_code == 201, answer.text
        assert (answer.json()["booking"]["id"], answer.json()["booking"]["seat"]) == (booking["id"], way["resource_id"])
    assert await queue(world) == []


async def test_what_the_booking_centre_owns_is_asked_of_it_and_in_a_cut_it_is_said_that_this_must_wait(linked):
    web = linked.hub.sell(2, 20)
    await linked.quiet()
    await blocked(linked, 2, 20)
    await linked.quiet()
    [conflict] = await queue(linked)
    way = conflict["ways"][0]
    assert way["asks"] and way["possible"]
    answer = await linked.staff.post(f"/api/conflicts/{web.id}/place", press(way))
    assert answer.status_code in (201, 202), answer.text
    await linked.quiet()
    await linked.until(lambda: linked.kit.db.read(lambda tx: tx.one("SELECT COUNT(*) FROM bookings WHERE status = 'confirmed'"))[0] == 1)
    assert await queue(linked) == []

    other = linked.hub.sell(3, 30)
    await linked.quiet()
    await blocked(linked, 3, 30)
    await linked.quiet()
    linked.cut()
    linked.clock.forward(20)
    [conflict] = await queue(linked)
    assert conflict["ways"] and not any(way["possible"] for way in conflict["ways"])
    refused = await linked.staff.post(f"/api/conflicts/{other.id}/place", press(conflict["ways"][0]))
    assert code_of(refused) == (409, "hub_unreachable")


async def test_while_the_booking_centre_has_not_answered_the_queue_says_what_is_asked_and_asks_nothing_else(linked):
    web = linked.hub.sell(2, 20)
    await linked.quiet()
    await blocked(linked, 2, 20)
    await linked.quiet()
    [conflict] = await queue(linked)
    linked.network.cut("site", "to_broker", noticed=False)
    answer = await linked.staff.post(f"/api/conflicts/{web.id}/place", press(conflict["ways"][0]))
    assert (answer.status_code, answer.json()["state"]) == (202, "asked")
    [conflict] = await queue(linked)
    assert conflict["asked"].startswith("Box ") and conflict["ways"] == []
    linked.network.heal("site")
    await linked.quiet()
    assert await queue(linked) == []


async def test_what_cannot_be_placed_is_refused_in_a_sentence(world):
    booking = await world.booked(1, 20)
    way = {"resource_id": f"{SITE}.box-2", "start": world.at(20), "end": world.at(22)}
    path = f"/api/conflicts/{booking['id']}/place"
    assert code_of(await world.staff.post(path, press(way))) == (409, "illegal_move")
    await blocked(world, 1, 20)
    for wrong, status, code in (
        ({"end": world.at(23)}, 422, "bad_interval"),
        ({"resource_id": f"{SITE}.box-9"}, 404, "resource_not_found"),
        ({"end": world.at(19)}, 422, "bad_interval"),
        ({"resource_id": f"{SITE}.box-1"}, 409, "slot_taken"),
        ({"booking_id": "x"}, 400, "bad_request"),
        ({"price": 1}, 400, "bad_request"),
    ):
        answer = await world.staff.post(path, {**press(way), **wrong})
        assert (wrong, *code_of(answer)) == (wrong, status, code) and answer.json()["detail"].endswith(".")
    assert code_of(await world.staff.post("/api/conflicts/nobody-0001/place", press(way))) == (404, "booking_not_found")
    assert code_of(await (await world.signed_in("vi")).post(path, press(way))) == (403, "not_allowed")
    assert [one["booking"]["id"] for one in await queue(world)] == [booking["id"]]


async def test_the_job_is_the_agents_own_and_looks_again_by_itself(world):
    from site_agent import jobs

    assert jobs.PLACING_EVERY_S <= 1
    booking = await world.booked(1, 2)
    world.agent.ticker.every(0.02, world.kit.placing.run, "placing-soon")
    await blocked(world, 1, 2)
    async with asyncio.timeout(5):
        while (await world.staff.get(f"/api/bookings/{booking['id']}")).json()["status"] != "cancelled":
            await asyncio.sleep(0.01)
    assert int(world.clock.now()) == NOON
