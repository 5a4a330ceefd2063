"""Outage credentials at the site (pass-4): on the door controller before the hub may give them, the booking's own once it is known, voided
by staff in one step, and an alert when one is used by nobody we know."""

import pytest

from shared.ledger import lines, outage_pins, records, sales
from shared.sealing import Sealer
from site_agent.ports import DoorEvent, PinTaken
from tests.site_agent.site_world import CONFIG, FRONT, NOON, SITE, away, opened

pytestmark = pytest.mark.rule("pass-4")


@pytest.fixture
async def w(tmp_path):
    async with opened(tmp_path, linked=True) as world:
        world.hub.desk.sealer = Sealer(bytes(32))
        await world.linked()
        yield world


async def kept(w) -> None:
    """What the ticker does now and then, and the credentials worker at once."""
    await w.kit.outage_pins.tick()
    await w.kit.credentials.settle()
    await w.quiet()


def free(w) -> int:
    return w.hub.db.read(lambda tx: outage_pins.stock(tx, SITE)).free


def windows(w) -> dict[str, set[int]]:
    """Bay -> the hours (from NOON) for which a spare PIN is on the controller."""
    found: dict[str, set[int]] = {}
    for c in w.doors.visitors.values():
        if c.booking_id.startswith("spare-"):
            found.setdefault(c.label.split(", ")[1], set()).add((c.opens_at + 900 - NOON) // 3600)
    return found


async def dark(w) -> None:
    w.cut()
    w.clock.forward(11)
    assert not w.kit.link.up() and not w.hub.pump.fresh()


async def healed(w) -> None:
    w.network.heal("site")
    await w.linked()


async def test_each_open_hour_of_three_days_that_the_hub_could_sell_has_one_on_the_controller_and_then_at_the_hub(w):
    far = w.hub.sell(2, 100)
    await w.quiet()
    for _ in range(5):
        await kept(w)
    known = windows(w)
    assert set(known) == {"Box 1", "Box 2", "Box 3", "Box 4"}
    assert min(known["Box 1"]) == 48 and min(known["Box 2"]) == 2, "from the bay's line on"
    assert {max(hours) for hours in known.values()} == {71}
    assert known["Box 3"] - known["Box 2"] == {50} and far.start == NOON // 900 + 200, "what is taken is not sold again in a cut"
    assert sum(map(len, known.values())) == 24 + 3 * 70 - 1
    spares = [c for c in w.doors.visitors.values() if c.booking_id.startswith("spare-")]
    assert free(w) == len(spares) == sum(map(len, known.values()))
    assert len({c.pin for c in spares}) == len(spares)
    assert {c.closes_at - c.opens_at for c in spares} == {3600 + 1800}
    assert all(set(c.door_ids) <= {FRONT, "door-side"} for c in spares)
    calls = len(w.doors.calls)
    await kept(w)
    assert len(w.doors.calls) == calls, "what is there is not made again"


async def test_the_hub_is_not_told_before_the_controller_has_it(w):
    w.doors.failure = away()
    await kept(w)
    state = w.kit.outage_pins.state()
    assert free(w) == 0 and state.ready == 0 and state.coming > 0
    w.doors.failure = None
    w.clock.forward(301)
    await w.linked()
    await kept(w)
    assert free(w) > 0 and w.kit.outage_pins.state().ready == free(w)


async def test_what_the_controller_took_while_the_hub_was_not_heard_is_told_later(w):
    w.agent.desk.seal_to = ""  # as after a start in the dark
    await w.kit.outage_pins.tick()
    await w.kit.credentials.settle()
    assert w.kit.outage_pins.state().ready == 0 and windows(w)
    await w.saying_hello(lambda: w.agent.desk.seal_to)
    await kept(w)
    assert free(w) == w.kit.outage_pins.state().ready > 0


async def test_a_dark_site_makes_none(w):
    await dark(w)
    assert await w.kit.outage_pins.tick() == 0 and windows(w) == {}


async def test_the_guest_of_a_sale_the_site_never_heard_of_has_a_pin_that_the_controller_knows(w):
    await kept(w)
    await dark(w)
    sold = w.hub.sell(2, 6)
    (visitor,) = [c for c in w.doors.visitors.values() if c.pin == sold.outage_pin]
    assert visitor.opens_at <= sold.starts_at < visitor.closes_at and FRONT in visitor.door_ids
    await healed(w)
    await w.kit.credentials.settle()
    (visitor,) = [c for c in w.doors.visitors.values() if c.pin == sold.outage_pin]
    assert visitor.booking_id == sold.id, "the visitor is the booking's own now"
    assert (visitor.opens_at, visitor.closes_at) == (sold.starts_at - 900, sold.ends_at + 900)
    shown = (await w.staff.get(f"/api/bookings/{sold.id}")).json()
    assert shown["pin"] == sold.outage_pin, "staff and kiosk say the PIN that the guest was told"
    assert len([c for c in w.doors.visitors.values() if c.booking_id == sold.id]) == 1


async def test_a_cancel_that_is_heard_takes_the_bookings_own_off_the_doors(w):
    await kept(w)
    await dark(w)
    sold = w.hub.sell(2, 6)
    w.hub.db.write_now(lambda tx: sales.cancel(tx, w.hub.desk, sold.id, by="customer"))
    await healed(w)
    await w.kit.credentials.settle()
    assert all(c.pin != sold.outage_pin for c in w.doors.visitors.values())


async def test_an_hour_that_was_sold_in_a_cut_and_given_back_has_another_for_the_next_cut(w):
    await kept(w)
    await dark(w)
    sold = w.hub.sell(2, 6)
    await healed(w)
    await w.kit.credentials.settle()
    w.hub.db.write_now(lambda tx: sales.cancel(tx, w.hub.desk, sold.id, by="customer"))
    await w.quiet()
    await kept(w)
    await dark(w)
    again = w.hub.sell(2, 6)
    assert again.outage_pin not in ("", sold.outage_pin)
    assert again.outage_pin in {c.pin for c in w.doors.visitors.values()}


async def test_a_release_takes_off_the_doors_what_nobody_has(w):
    await kept(w)
    assert 3 in windows(w)["Box 2"]
    w.clock.forward(4 * 3600)
    await w.linked()
    w.hub.db.write_now(lambda tx: lines.release(tx, w.hub.desk, SITE, link_fresh=True))
    await w.quiet()
    await w.kit.credentials.settle()
    assert min(windows(w)["Box 2"]) >= 6, "the line is two hours ahead of now"


async def test_a_pin_that_the_controller_has_already_is_drawn_anew(w):
    grant, refused = w.doors.grant, []

    async def taken_once(credential):
        if not refused:
            refused.append(credential.booking_id)
            raise PinTaken("Another credential of this site has the PIN already.")
        return await grant(credential)

    w.doors.grant = taken_once
    await kept(w)
    await kept(w)
    assert w.db.read(lambda tx: outage_pins.one(tx, refused[0])).state == "ended"
    assert not w.kit.credentials.stuck() and 2 in windows(w)["Box 2"], "another was made for its hour"


async def test_staff_void_them_in_one_step(w):
    await kept(w)
    booking = await w.booked(1, 0)
    await w.kit.credentials.settle()
    panel = (await w.staff.get("/api/panels", date="2026-11-21")).json()["spare_pins"]
    assert panel["ready"] == free(w) > 0
    answer = await w.staff.post("/api/outage-pins/void")
    assert answer.status_code == 200 and answer.json() == {"ready": 0, "coming": 0, "given": 0, "used": []}
    await w.kit.credentials.settle()
    await w.quiet()
    assert [c.booking_id for c in w.doors.visitors.values()] == [booking["id"]] and free(w) == 0
    assert any("spare PINs voided" in row for row in w.journal())


async def test_voiding_is_for_staff_only_and_needs_the_csrf_header(w):
    await kept(w)
    for asker, status in ((w.anybody, 401), (w.kiosk, 403), (await w.signed_in("vi"), 403), (await w.signed_in("con"), 403)):
        assert (await asker.post("/api/outage-pins/void")).status_code == status
    forger = await w.signed_in("sam")
    del forger.http.headers["x-csrf-token"]
    assert (await forger.post("/api/outage-pins/void")).status_code == 403
    assert free(w) > 0


def used(ref: str, at: int, how: str = "pin", admitted: bool = True) -> DoorEvent:
    return DoorEvent(at, FRONT, "Front", admitted, how, ref, "", "", "")


async def test_one_used_by_nobody_we_know_is_an_alert_that_ends_when_the_sale_is_heard(w):
    await kept(w)
    asked = []
    events: list[DoorEvent] = []

    async def log(since_at, until_at):
        asked.append((since_at, until_at))
        return events

    w.doors.log = log
    assert await w.kit.outage_pins.watch() == 0 and asked == [], "while every window lies ahead nothing is asked"
    await dark(w)
    sold = w.hub.sell(2, 6)
    w.clock.forward(3 * 3600 - 60)
    (ref,) = [ref for ref, c in w.doors.visitors.items() if c.pin == sold.outage_pin]
    events.append(used(ref, int(w.clock.now()), admitted=False))
    assert await w.kit.outage_pins.watch() == 0 and asked, "a refused one is nobody's entry"
    events.append(used(ref, int(w.clock.now())))
    assert await w.kit.outage_pins.watch() == 1 and await w.kit.outage_pins.watch() == 0, "one alert"
    (told,) = (await w.staff.get("/api/panels", date="2026-11-21")).json()["spare_pins"]["used"]
    assert (told["bay"], told["door"], told["at"]) == ("Box 2", "Front door", int(w.clock.now()))
    assert any("spare PIN used without a known booking" in row for row in w.journal())
    await healed(w)
    assert (await w.staff.get("/api/panels", date="2026-11-21")).json()["spare_pins"]["used"] == []
    hub_journal = w.hub.db.read(lambda tx: records.journal_of(tx, SITE))
    assert any(sold.id in row[-1] for row in hub_journal if "spare PIN used" in row)


async def test_a_controller_whose_log_cannot_be_read_raises_no_alert_and_no_error(w):
    await kept(w)
    await dark(w)
    w.clock.forward(3 * 3600)
    w.doors.log = failing
    assert await w.kit.outage_pins.watch() == 0


async def failing(since_at, until_at):
    raise away()


async def test_a_site_without_doors_has_none(tmp_path):
    async with opened(
        tmp_path, linked=True, config=CONFIG.replace('door_ids = ["door-front"]', "").replace('door_ids = ["door-side"]', "")
    ) as w:
        await w.linked()
        assert await w.kit.outage_pins.tick() == 0
