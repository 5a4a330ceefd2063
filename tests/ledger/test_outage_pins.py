"""Outage credentials over the link (pass-4): leased ahead, given once, named by the sale, ended with the line, voided in one step."""

import pytest

from shared.ledger import outage_pins, pins, records
from shared.messages import OutagePin, OutagePinsLeased
from shared.sealing import Sealer, SealKey
from tests.rules.harm_outage_pins import doors_know, stocked
from tests.two_sides import SITE, play

pytestmark = pytest.mark.rule("pass-4")


def stock(party) -> outage_pins.Stock:
    return party.read(lambda tx: outage_pins.stock(tx, SITE))


def test_a_sale_to_a_dark_site_names_one_and_the_site_knows_whose_it_is_when_it_hears():
    async def story(w):
        [spare] = await stocked(w, 2, 20)
        await w.dark()
        [b] = w.hub.book(2, 20)
        assert b.outage_pin == b.door_pin == spare.secret != b.pin
        assert doors_know(w) == {spare.secret: "leased"}, "the door lets its guest in although the site knows nothing of the sale"
        await w.healed()
        assert w.site.booking(b.id).outage_pin == spare.secret and doors_know(w) == {}
        assert w.site.pin_of(spare.secret).id == b.id, "it works at the kiosk too"
        assert stock(w.hub) == stock(w.site) == outage_pins.Stock(given=1)

    play(story)


def test_while_the_site_is_heard_none_is_given():
    async def story(w):
        await stocked(w, 2, 20)
        [b] = w.hub.book(2, 20)
        assert not b.outage_pin and b.door_pin == b.pin and stock(w.hub).free == 1

    play(story)


def test_another_hour_or_bay_is_not_its_own():
    async def story(w):
        await stocked(w, 2, 20)
        await w.dark()
        assert not w.hub.book(2, 24)[0].outage_pin and not w.hub.book(3, 20)[0].outage_pin and stock(w.hub).free == 1

    play(story)


def test_the_hubs_stock_cannot_be_read_out_of_its_books():
    async def story(w):
        [spare] = await stocked(w, 2, 20)
        rows = w.hub.read(lambda tx: tx.all("SELECT * FROM outage_pins") + tx.all("SELECT * FROM pins") + tx.all("SELECT body FROM inbox"))
        assert rows and spare.secret not in str(rows)
        w.hub.desk.sealer = Sealer(b"x" * 32)  # the books in other hands
        await w.dark()
        assert not w.hub.book(2, 20)[0].outage_pin and stock(w.hub).free == 0, "what does not open is not kept"

    play(story)


def test_neither_the_broker_nor_the_streams_of_either_side_can_read_one():
    async def story(w):
        seen: list[bytes] = []
        publish = w.site.transport.publish
        w.site.transport.publish = lambda topic, payload, **more: (seen.append(payload), publish(topic, payload, **more))[1]
        [spare] = await stocked(w, 2, 20)
        assert any(spare.id.encode() in body for body in seen) and not any(spare.secret.encode() in body for body in seen)
        told = w.site.read(lambda tx: tx.all("SELECT body FROM outbox"))
        assert spare.secret not in str(told) and stock(w.hub).free == 1

    play(story)


def test_a_hub_that_cannot_open_what_was_sealed_says_so_and_the_site_makes_others():
    async def story(w):
        w.hub.desk.sealer = Sealer(bytes(32))
        w.site.desk.seal_to = SealKey(b"y" * 32).public  # as before another machine became the hub
        resource = f"{SITE}.box-2"
        [lost] = w.site.write(lambda tx, desk: outage_pins.make(tx, desk, SITE, [(resource, w.slot0 + 20)]))
        assert w.site.write(lambda tx, desk: outage_pins.leased(tx, desk, lost.id))
        await w.quiet()
        assert stock(w.hub) == outage_pins.Stock() == stock(w.site)
        assert w.site.read(lambda tx: outage_pins.lacking(tx, w.site.desk, resource, [w.slot0 + 20])) == [w.slot0 + 20]

    play(story)


def test_a_hub_of_an_older_version_is_told_none():
    async def story(w):
        w.site.desk.seal_to = SealKey(bytes(32)).public
        w.site.write(lambda tx, desk: tx.run("UPDATE streams SET peer_schema = 3"))
        [spare] = w.site.write(lambda tx, desk: outage_pins.make(tx, desk, SITE, [(f"{SITE}.box-2", w.slot0 + 20)]))
        assert not w.site.write(lambda tx, desk: outage_pins.leased(tx, desk, spare.id))
        assert w.site.read(lambda tx: [one.id for one in outage_pins.untold(tx, SITE)]) == [spare.id]

    play(story)


def test_an_older_site_may_still_tell_one_in_the_open():
    async def story(w):
        await stocked(w, 2, 20)
        pin = OutagePin("spare-old", f"{SITE}.box-2", w.slot0 + 24, w.slot0 + 28, "482913")
        w.site.say(OutagePinsLeased(pins=(pin,)))
        await w.quiet()
        assert stock(w.hub).free == 2

    play(story)


def test_a_hub_without_a_key_keeps_none():
    async def story(w):
        await stocked(w, 2, 20)
        w.hub.desk.sealer = None
        pin = OutagePin("spare-x", f"{SITE}.box-2", w.slot0 + 24, w.slot0 + 28, "482913")
        w.site.say(OutagePinsLeased(pins=(pin,)))
        await w.quiet()
        assert stock(w.hub).free == 1

    play(story)


def test_a_credential_of_another_facility_is_kept_aside():
    async def story(w):
        await stocked(w, 2, 20)
        w.site.say(OutagePinsLeased(pins=(OutagePin("spare-x", "halifax.box-2", w.slot0, w.slot0 + 4, "482913"),)))
        await w.quiet()
        assert w.hub.stream().unknown_count == 1 and stock(w.hub).free == 1

    play(story)


def test_the_line_ends_what_is_nobodys_on_both_sides_and_leaves_what_is_given():
    async def story(w):
        given, _ = await stocked(w, 2, 20, 24)
        await w.dark()
        [b] = w.hub.book(2, 20)
        w.forward(6 * 3600)
        await w.healed()
        w.hub.release()
        await w.quiet()
        w.hub.write(lambda tx, desk: outage_pins.tidy(tx, desk, SITE))
        assert stock(w.site) == stock(w.hub) == outage_pins.Stock(given=1)
        assert w.site.booking(b.id).door_pin == given.secret
        rows = w.site.read(lambda tx: tx.all("SELECT secret FROM outage_pins WHERE state = 'ended'"))
        assert rows == [("",)], "an ended one is no secret any more"

    play(story)


def test_its_pin_is_drawn_for_nobody_else_and_rests_afterwards():
    async def story(w):
        [spare] = await stocked(w, 2, 20)

        def state(pin):
            return w.site.read(lambda tx: tx.one("SELECT state FROM pins WHERE pin = :p", {"p": pin}))[0]

        assert state(spare.secret) == "outage"
        w.site.write(lambda tx, desk: outage_pins.void(tx, desk, SITE, by="ada"))
        assert state(spare.secret) == "resting"
        w.forward(29 * 86_400)
        w.site.write(pins.rested)
        assert state(spare.secret) == "resting"

    play(story)


def test_a_moved_booking_gets_one_for_its_new_hour():
    async def story(w):
        first, second = await stocked(w, 2, 20, 28)
        await w.dark()
        [old] = w.hub.book(2, 20)
        new = w.hub.move(old.id, 2, 28)
        assert (old.outage_pin, new.outage_pin) == (first.secret, second.secret)
        await w.healed()
        assert w.site.booking(new.id).outage_pin == second.secret and doors_know(w) == {}

    play(story)


def test_a_booking_that_the_site_moves_keeps_the_pin_its_guest_was_told():
    async def story(w):
        [spare] = await stocked(w, 2, 20)
        await w.dark()
        [old] = w.hub.book(2, 20)
        w.forward(5 * 3600)
        await w.healed()
        w.hub.release()
        await w.quiet()
        new = w.site.move(old.id, 2, 22)
        assert new.outage_pin == spare.secret and w.site.pin_of(spare.secret).id == new.id

    play(story)


@pytest.mark.parametrize("side", ["hub", "site"])
def test_staff_void_the_stock_in_one_step_and_the_other_side_follows(side):
    async def story(w):
        await stocked(w, 2, 20, 24)
        ended = getattr(w, side).write(lambda tx, desk: outage_pins.void(tx, desk, SITE, by="ada"))
        await w.quiet()
        assert ended == 2 and doors_know(w) == {} and stock(w.hub) == stock(w.site) == outage_pins.Stock()
        journal = getattr(w, side).read(lambda tx: records.journal_of(tx, SITE))
        assert any("ada" in row and "spare PINs voided" in row for row in journal)
        await w.dark()
        assert not w.hub.book(2, 20)[0].outage_pin

    play(story)


def test_one_that_a_dark_site_voided_and_the_hub_gave_is_taken_back_and_the_ordinary_pin_stands():
    async def story(w):
        [spare] = await stocked(w, 2, 20)
        await w.dark()
        w.site.write(lambda tx, desk: outage_pins.void(tx, desk, SITE, by="ada"))
        [b] = w.hub.book(2, 20)
        assert b.outage_pin == spare.secret
        await w.healed()
        for party in (w.hub, w.site):
            assert party.booking(b.id).outage_pin == "" and party.booking(b.id).door_pin == b.pin
        assert w.site.pin_of(spare.secret) is None

    play(story)


def test_a_use_without_a_known_booking_is_an_alert_on_both_sides_until_the_sale_is_heard():
    async def story(w):
        mine, stray = await stocked(w, 2, 20, 24)
        await w.dark()
        [b] = w.hub.book(2, 20)

        def use(spare):
            return w.site.write(lambda tx, desk: outage_pins.used(tx, desk, spare.id, "Front", desk.now()))

        def told(party):
            return [s.id for s in party.read(lambda tx: outage_pins.unexplained(tx, party.desk, SITE))]

        assert use(mine) and use(stray) and not use(stray), "one alert for each"
        assert told(w.site) == [mine.id, stray.id]
        await w.healed()
        assert told(w.site) == [stray.id], "the sale has been heard: its guest stood at the door"
        assert told(w.hub) == [stray.id], "the hub has given the other one"
        assert not use(mine) and w.hub.booking(b.id)

    play(story)
