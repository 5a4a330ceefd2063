"""Sales that two machines hold, and what the second one gives back (protocol loss-7, loss-3), in the world of two sides."""

import asyncio

import pytest
from msgspec.structs import replace

from shared.ledger import fencing, lines, records, secured
from tests.two_sides import SITE, World, play


def told(w: World, booking_id: str):
    b = w.hub.booking(booking_id)
    return w.hub.read(lambda tx: secured.told(tx, w.hub.desk, b))


def rows(w: World) -> list[secured.Kept]:
    return w.hub.read(lambda tx: secured.to_keep(tx, SITE))


def loss(w: World) -> int:
    return w.hub.read(lambda tx: secured.possible_loss(tx, SITE)).sales


@pytest.mark.rule("loss-7")
def test_without_a_second_machine_every_sale_is_told_and_the_possible_loss_is_counted():
    async def script(w: World):
        await w.dark()
        [b] = w.hub.book(2, 12)
        w.hub.book([1, 3], 200)
        assert told(w, b.id).status == "confirmed" and loss(w) == 2
        assert w.hub.read(lambda tx: secured.possible_loss(tx, SITE)).since_at == w.hub.desk.now()
        await w.healed()
        assert loss(w) == 0

    play(script)


@pytest.mark.rule("loss-7")
def test_with_one_a_sale_is_told_when_it_or_the_site_has_the_row():
    async def script(w: World):
        w.hub.desk.second_machine = True
        await w.dark()
        [b] = w.hub.book(2, 12)
        [group, _] = w.hub.book([1, 3], 200)
        assert (told(w, b.id).status, told(w, b.id).reason, told(w, b.id).pin) == ("requested", secured.WHY, "")
        spare = replace(w.hub.booking(b.id), outage_pin="4711")
        assert w.hub.read(lambda tx: secured.told(tx, w.hub.desk, spare)).door_pin == "", "nor the spare PIN that it was given because the site is dark"
        w.hub.write(lambda tx, desk: secured.has_kept(tx, rows(w)[:1]))  # the witness has come as far as the first of them
        assert told(w, b.id).status == "confirmed" and told(w, group.id).status == "requested" and loss(w) == 1
        w.hub.cancel(group.id)
        assert told(w, group.id).status == "cancelling"
        await w.healed()
        assert told(w, b.id).status == "confirmed" and loss(w) == 0 and rows(w) == []

    play(script)


@pytest.mark.rule("loss-7")
def test_a_sale_of_the_sites_own_is_the_sites_to_tell():
    async def script(w: World):
        w.hub.desk.second_machine = True
        [b] = w.site.book(1, 6)
        await w.quiet()
        assert told(w, b.id).status == "confirmed"

    play(script)


@pytest.mark.rule("loss-3")
def test_a_hub_that_lost_its_sales_takes_them_back_and_its_site_hears_of_them():
    async def script(w: World):
        w.hub.desk.second_machine = True
        [before] = w.hub.book(1, 200)
        await w.quiet()
        copy = w.hub.copy_of_books()
        await w.dark()
        [lost] = w.hub.book(2, 12)
        [gone] = w.hub.book(3, 204)
        moved = w.hub.move(before.id, 1, 212)
        w.hub.cancel(gone.id)
        kept = rows(w)
        w.hub.roll_back(copy)
        w.hub.write(lambda tx, desk: fencing.fence(tx, desk, SITE, "restored from a backup"))
        assert w.hub.booking(lost.id) is None
        assert w.hub.write(lambda tx, desk: secured.regain(tx, desk, kept)) == 3
        assert w.hub.write(lambda tx, desk: secured.regain(tx, desk, kept)) == 0  # once is enough
        assert w.hub.booking(before.id).status == "cancelling" and w.hub.booking(gone.id).status == "cancelling"
        await w.healed()
        await asyncio.sleep(30)
        await w.healed()
        assert w.site.booking(lost.id).status == "confirmed" and w.site.booking(moved.id).status == "confirmed"
        assert w.site.booking(before.id).status == "cancelled"
        assert w.hub.booking(gone.id).status == "cancelled"

    play(script)


@pytest.mark.rule("loss-3")
def test_rows_that_come_after_the_repair_reach_the_site_as_found_sales():
    async def script(w: World):
        copy = w.hub.copy_of_books()
        await w.dark()
        [lost] = w.hub.book(2, 12)
        kept = rows(w)
        w.hub.roll_back(copy)
        w.hub.write(lambda tx, desk: fencing.fence(tx, desk, SITE, "restored from a backup"))
        await w.healed()
        await asyncio.sleep(30)
        assert not w.hub.stream().fenced and w.site.booking(lost.id) is None
        assert w.hub.write(lambda tx, desk: secured.regain(tx, desk, kept)) == 1
        await w.quiet()
        assert w.site.booking(lost.id).status == "confirmed" and w.hub.booking(lost.id).status == "confirmed"
        assert "sale regained" in [row[2] for row in w.hub.read(lambda tx: records.journal_of(tx, SITE))]
        assert w.hub.read(lambda tx: lines.lines_of(tx, SITE)) == w.site.read(lambda tx: lines.lines_of(tx, SITE))

    play(script)


def test_rows_of_sites_that_are_gone_or_of_a_later_release_are_passed_over():
    async def script(w: World):
        strange = [secured.Kept("nowhere", "e", 1, 0, "{}"), secured.Kept(SITE, "e", 1, 0, '{"type":"SoldByMoonlight"}')]
        assert w.hub.write(lambda tx, desk: secured.regain(tx, desk, strange)) == 0

    play(script)
