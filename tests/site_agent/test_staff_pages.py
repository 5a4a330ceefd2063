"""The staff page: signing in without scripts, the live board and its stream."""

import asyncio
import contextlib

import msgspec

from site_agent.services import live
from tests.site_agent.site_world import PASSWORD, SITE, Client, csrf_of

TODAY = "2026-11-21"


async def test_a_browser_without_a_session_is_led_to_the_sign_in(world):
    browser = Client(world, accept="text/html")
    answer = await browser.get("/staff")
    assert (answer.status_code, answer.headers["location"]) == (303, "/staff/sign-in")


async def test_signing_in_and_out_by_form(world):
    browser = Client(world, accept="text/html")
    page = await browser.get("/staff/sign-in")
    wrong = await browser.form("/staff/sign-in", csrf_token=csrf_of(page.text), user="sam", password="no")
    assert wrong.status_code == 401 and "User or password is not right." in wrong.text and 'value="sam"' in wrong.text
    right = await browser.form("/staff/sign-in", csrf_token=csrf_of(page.text), user="sam", password=PASSWORD)
    assert (right.status_code, right.headers["location"]) == (303, "/staff")
    assert "HttpOnly" in right.headers["set-cookie"] and "SameSite=Lax" in right.headers["set-cookie"]
    board = await browser.get("/staff")
    assert board.status_code == 200 and "Sam Example" in board.text
    assert 'data-rights="block book check_in drill emergency machines unlock view void_pins"' in board.text
    assert "<style" not in board.text and " style=" not in board.text and "onclick" not in board.text
    out = await browser.form("/staff/sign-out", csrf_token=csrf_of(board.text))
    assert out.status_code == 303 and (await browser.get("/staff")).status_code == 303


async def test_a_forged_sign_in_form_is_refused(world):
    browser = Client(world, accept="text/html")
    answer = await browser.form("/staff/sign-in", user="sam", password=PASSWORD)
    assert answer.status_code == 403


async def test_the_board_tells_what_lies_on_the_day(world):
    booking = await world.booked(1, 0)
    await world.booked(2, 1)
    await world.staff.post(f"/api/bookings/{booking['id']}/check-in", {})
    block = {"block_id": "block-000001", "resource_id": f"{SITE}.box-3", "start": world.at(0), "end": world.at(2), "kind": "training", "reason": "new staff"}
    await world.staff.post("/api/blocks", block)
    times = {"resource_id": f"{SITE}.box-4", "start": world.at(0), "end": world.at(2), "hold_id": "hold-000001"}
    await world.kiosk.post("/api/holds", times)
    board = (await world.staff.get("/api/board", date=TODAY)).json()
    tones = {(item["kind"], item["tone"], item["resource_id"][-5:]) for item in board["items"]}
    assert tones == {("booking", "in", "box-1"), ("booking", "staff", "box-2"), ("block", "block", "box-3"), ("hold", "hold", "box-4")}
    assert [bay["bay"] for bay in board["bays"]] == ["Box 1", "Box 2", "Box 3", "Box 4"] and board["bays"][0]["line"] > board["bays"][1]["line"]
    assert "902-555" not in msgspec.json.encode(board).decode()


async def test_figures_are_counted_from_the_books(world):
    first = await world.booked(1, 0)
    await world.booked(2, 0)
    await world.staff.post(f"/api/bookings/{first['id']}/check-in", {})
    world.clock.forward(600)
    figures = (await world.staff.get("/api/panels", date=TODAY)).json()["figures"]
    assert figures == {"expected": 1, "inside": 1, "late": 1, "done": 0, "no_shows": 0, "booked_minutes": 120, "bay_minutes": 4 * 1440}
    await world.booked(3, 0)  # into the running half hour
    world.clock.forward(240)
    late = lambda answer: answer.json()["figures"]["late"]  # noqa: E731
    assert late(await world.staff.get("/api/panels", date=TODAY)) == 1
    world.clock.forward(60)
    assert late(await world.staff.get("/api/panels", date=TODAY)) == 2


async def test_figures_of_another_day_count_who_arrives_on_that_day(linked):
    await linked.booked(1, 0)
    await linked.booked(1, 23)  # 23:30 to 00:30
    await linked.booked(1, 40)
    of = lambda answer: answer.json()["figures"]  # noqa: E731
    tomorrow = of(await linked.staff.get("/api/panels", date="2026-11-22"))
    assert (tomorrow["expected"], tomorrow["late"], tomorrow["booked_minutes"]) == (1, 0, 90)
    assert of(await linked.staff.get("/api/panels", date=TODAY))["expected"] == 2
    linked.clock.forward(12 * 3600 + 600)  # ten past midnight: who should have come at 23:30 is expected still
    linked.staff = await linked.signed_in("ada")  # the session has ended by then
    today = of(await linked.staff.get("/api/panels", date="2026-11-22"))
    assert (today["expected"], today["late"]) == (2, 1)


class Watcher:
    """A page that listens: collects the events of one day's stream."""

    def __init__(self, world, version: str, allowed=None):
        self.events: list[tuple[str, dict]] = []
        self.pings = 0
        self.ended = False

        async def yes() -> bool:
            return True

        self._task = asyncio.create_task(self._listen(world.kit.live.events(live.date.fromisoformat(TODAY), version, allowed or yes)))

    async def _listen(self, stream) -> None:
        async for chunk in stream:
            lines = dict(line.split(": ", 1) for line in chunk.decode().strip().split("\n") if ": " in line and not line.startswith(":"))
            self.pings += chunk.startswith(b": ping")
            if "event" in lines:
                self.events.append((lines["event"], msgspec.json.decode(lines["data"])))
        self.ended = True

    async def stop(self) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task


async def test_a_change_comes_as_changed_cells_with_the_next_version(world):
    board = (await world.staff.get("/api/board", date=TODAY)).json()
    watcher = Watcher(world, board["version"])
    await world.until(lambda: world.kit.live.watching == 1)
    booking = await world.booked(1, 0)
    await world.until(lambda: watcher.events)
    kind, changed = watcher.events[0]
    assert kind == "cells" and changed["before"] == board["version"] != changed["version"]
    assert [item["id"] for item in changed["items"]] == [booking["id"]] and changed["removed"] == []
    await world.staff.post(f"/api/bookings/{booking['id']}/cancel", {})
    await world.until(lambda: len(watcher.events) > 1)
    assert watcher.events[1][1]["removed"] == [f"booking/{booking['id']}"] and watcher.events[1][1]["before"] == changed["version"]
    fresh = (await world.staff.get("/api/board", date=TODAY)).json()
    assert fresh["version"] == watcher.events[1][1]["version"] and fresh["items"] == []
    await watcher.stop()
    assert world.kit.live.watching == 0


async def test_changes_close_together_are_one_event(world):
    board = (await world.staff.get("/api/board", date=TODAY)).json()
    watcher = Watcher(world, board["version"])
    await world.until(lambda: world.kit.live.watching == 1)
    for n in range(3):
        await world.booked(1, n * 2)
    await world.until(lambda: watcher.events)
    await asyncio.sleep(live.COALESCE_S * 1.5)
    told = [item["id"] for _, changed in watcher.events for item in changed["items"]]
    assert len(told) == 3 and len(watcher.events) <= 2
    await watcher.stop()


async def test_a_page_with_another_version_is_told_to_fetch_again(world):
    watcher = Watcher(world, "long-ago")
    await world.until(lambda: watcher.events)
    assert watcher.events[0][0] == "refetch"
    await watcher.stop()


async def test_a_stream_pings_and_ends_when_the_session_does(world, monkeypatch):
    monkeypatch.setattr(live, "PING_S", 0.02)
    left = [True, True, False]

    async def allowed() -> bool:
        return left.pop(0)

    board = (await world.staff.get("/api/board", date=TODAY)).json()
    watcher = Watcher(world, board["version"], allowed)
    await world.until(lambda: watcher.ended)
    assert watcher.pings == 2


async def test_streams_end_when_the_agent_stops(world):
    board = (await world.staff.get("/api/board", date=TODAY)).json()
    watcher = Watcher(world, board["version"])
    await world.until(lambda: world.kit.live.watching == 1)
    world.agent.on_stop()
    await world.until(lambda: watcher.ended)
    assert world.kit.live.watching == 0


async def test_link_and_door_changes_reach_the_panels(linked):
    board = (await linked.staff.get("/api/board", date=TODAY)).json()
    watcher = Watcher(linked, board["version"])
    await linked.until(lambda: linked.kit.live.watching == 1)
    linked.kit.link.tick()
    linked.cut()
    linked.clock.forward(20)
    linked.kit.link.tick()
    await linked.until(lambda: watcher.events)
    await watcher.stop()
    assert watcher.events[0] == ("panels", {})


async def test_a_watcher_that_does_not_keep_up_loses_the_oldest_and_can_tell(world):
    queue: asyncio.Queue[bytes] = asyncio.Queue(2)
    for event in (b"one", b"two", b"three"):
        live._put(queue, event)
    assert [queue.get_nowait(), queue.get_nowait()] == [b"two", b"three"]
