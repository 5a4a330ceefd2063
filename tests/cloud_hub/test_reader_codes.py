"""The door reader's own QR code on the guest's page: beside the PIN where readers take it, gone with the booking, in no log."""

import logging

import pytest

from shared.ledger import door_codes, old_rows, records, streams
from shared.ledger.door_codes import KEPT_S
from site_agent.ports import DoorsRefused
from tests.site_agent.site_world import SITE, away
from tests.two_apps import SOONEST, WITH_DOORS, both

WITH_CODES = WITH_DOORS + "reader_qr = true\n"
CODE = "READER-CODE-OF-{}"


class Reader:
    """What the controller is asked for its codes; `failure` is raised by the next ask, `text` is what it answers."""

    def __init__(self, w):
        self.asked: list[str] = []
        self.failure: Exception | None = None
        self.text = CODE
        w.doors.code_of = self.code_of

    async def code_of(self, ref: str) -> str:
        self.asked.append(ref)
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure
        return self.text.format(ref)


@pytest.fixture
async def w(tmp_path):
    async with both(tmp_path, WITH_CODES) as world:
        world.reader = Reader(world)
        yield world


async def told(w) -> int:
    """The controller has the credentials, and the hub was told their codes."""
    await w.kit.credentials.settle()
    count = await w.kit.reader_codes.tick()
    await w.quiet()
    return count


def kept(w, booking_id: str) -> str:
    def read(tx):
        return door_codes.of(tx, w.hub.desk, records.booking(tx, booking_id))

    return w.db.read(read)


async def test_the_page_shows_the_pin_then_our_code_for_the_kiosk_then_the_readers(w, caplog):
    caplog.set_level(logging.DEBUG)
    b = await w.sold(1, SOONEST)
    assert await told(w) == 1 and await told(w) == 0 and len(w.reader.asked) == 1
    page = await w.guest_page(b)
    places = [
        page.words.index(text)
        for text in ("Your PIN", "Or show this code to the kiosk; the door’s reader does not know it", "Code for the door’s reader")
    ]
    assert places == sorted(places) and page.text.count('class="qr"') == 2 and "The kiosk does not know it." in page.words
    assert "READER-CODE" not in caplog.text
    assert "READER-CODE" not in str(w.db.read(lambda tx: tx.all("SELECT * FROM door_codes"))), "sealed where it rests"
    assert "READER-CODE" not in str(w.kit.db.read(lambda tx: tx.all("SELECT * FROM door_codes")))


@pytest.mark.parametrize("end", ["over", "cancelled"])
async def test_it_goes_half_an_hour_after_the_end_and_with_a_booking_that_is_given_up(w, end):
    b = await w.sold(1, SOONEST)
    await told(w)
    assert kept(w, b.id) == CODE.format(f"v-{b.id}")
    if end == "over":
        w.clock.forward(b.ends_at + KEPT_S - 1 - int(w.clock.now()))
        assert 'class="qr"' in (await w.guest_page(b)).text and kept(w, b.id)
        w.clock.forward(1)
    else:
        assert (await w.post(f"/bookings/{b.id}/cancel", {})).status_code == 200
        await w.quiet()
    assert 'class="qr"' not in (await w.guest_page(b)).text and kept(w, b.id) == ""
    await w.db.write(lambda tx: old_rows.forget(tx, w.hub.desk))
    assert w.db.read(lambda tx: tx.all("SELECT * FROM door_codes")) == []


async def test_a_moved_booking_gets_the_code_of_its_new_credential(w):
    b = await w.sold(1, SOONEST)
    await told(w)
    answer = await w.post(f"/bookings/{b.id}/reschedule", {"booking_id": "booking-0002", **w.time(1, SOONEST + 4)})
    assert answer.status_code == 201, answer.text
    await w.quiet()
    assert await told(w) == 1 and (kept(w, b.id), kept(w, "booking-0002")) == ("", CODE.format(w.reader.asked[-1]))


async def test_a_controller_that_is_away_is_asked_again_later_and_one_that_refuses_costs_only_its_own(w):
    first, second = await w.sold(1, SOONEST), await w.sold(2, SOONEST, booking_id="booking-0002", who=2)
    w.reader.failure = away()
    assert await told(w) == 0 and len(w.reader.asked) == 1
    w.clock.forward(31)
    w.reader.failure = DoorsRefused("This visitor is gone.")
    await w.linked()
    assert await told(w) == 1 and {bool(kept(w, b.id)) for b in (first, second)} == {True, False}
    w.clock.forward(3601)
    await w.linked()
    assert await told(w) == 1 and kept(w, first.id) and kept(w, second.id)


async def test_readers_that_take_no_code_are_asked_once_and_the_page_says_nothing_of_it(w):
    b = await w.sold(1, SOONEST)
    w.reader.text = ""
    await told(w)
    await told(w)
    assert len(w.reader.asked) == 1 and "reader" not in (await w.guest_page(b)).words


async def test_a_new_epoch_tells_the_codes_again(w):
    b = await w.sold(1, SOONEST)
    await told(w)
    await w.db.write(lambda tx: tx.run("DELETE FROM door_codes"))
    await w.kit.db.write(lambda tx: tx.run("UPDATE door_codes SET told_epoch = 'before'"))
    assert await told(w) == 1 and kept(w, b.id)


async def test_without_the_setting_and_with_an_older_hub_nothing_is_asked(w, tmp_path_factory):
    await w.sold(1, SOONEST)
    await w.kit.db.write(lambda tx: tx.run("UPDATE streams SET peer_schema = 3"))
    assert await told(w) == 0 and w.reader.asked == []
    async with both(tmp_path_factory.mktemp("off"), WITH_DOORS) as off:
        reader = Reader(off)
        await off.sold(1, SOONEST)
        assert await told(off) == 0 and reader.asked == []


async def test_a_code_for_another_facilitys_booking_stops_nothing_of_ours(w):
    b = await w.sold(1, SOONEST)
    await w.db.write(lambda tx: streams.open_site(tx, "truro", epoch="e"))
    with pytest.raises(door_codes.Broken):
        await w.db.write(lambda tx: door_codes.take(tx, w.hub.desk, door_codes.DoorCode(booking_id=b.id, sealed="Other"), "truro"))
    await w.db.write(lambda tx: door_codes.take(tx, w.hub.desk, door_codes.DoorCode(booking_id="never-was-1", sealed="Other"), SITE))
    assert w.db.read(lambda tx: tx.all("SELECT * FROM door_codes")) == []


async def test_bookings_that_are_over_are_not_asked_for_again_and_keep_no_other_from_its_code(w):
    over = [await w.sold(bay, SOONEST, booking_id=f"booking-000{bay}", who=bay) for bay in (1, 2)]
    await told(w)
    w.clock.forward(over[0].ends_at + KEPT_S + 60 - int(w.clock.now()))
    await w.kit.db.write(lambda tx: old_rows.forget(tx, w.kit.bookings._desk))
    await w.linked()
    assert await told(w) == 0 and len(w.reader.asked) == 2
