"""What goes wrong without the guards of loss: fence, repair, floor, boxes and hubs (loss-1 to loss-6)."""

from __future__ import annotations

import asyncio

from shared.ledger import boxes
from shared.runtime.transport import Faults
from tests.rules.harm import must, refused, scenario
from tests.rules.story import until
from tests.two_sides import SITE, World


async def repaired(w: World) -> None:
    """Both sides are open to each other again and nothing waits."""
    await until(lambda: w.hub.up() and w.site.up() and not w.site.stream().repair and not w.hub.stream().fenced, 60)
    await w.quiet()


async def released(w: World) -> int:
    """The line of bay 3 rises by an hour; returns where it was before."""
    before = w.hub.line(3)
    w.forward(3600)
    await asyncio.sleep(w.limits.hello_every_s * 2)
    w.hub.release()
    await w.quiet()
    must(w.site.line(3) >= before + 4, "no release came")
    return before


@scenario(rule="loss-1", guard="fence_holds")
async def a_site_comes_back_from_a_backup_in_a_cut(w: World):
    kept = w.site.copy_of_books()
    w.site.book(1, 4)
    await w.quiet()
    await w.dark()
    await w.site.restore(kept)
    must(refused(lambda: w.site.book(1, 4)) == "fenced", "a slot that was sold before the restore is sold again")
    w.heal()
    await repaired(w)


@scenario(rule="loss-1", guard="behind_is_fenced")
async def a_disk_image_is_put_back_and_nobody_says_so(w: World):
    kept = w.site.copy_of_books()
    w.site.book(2, 4)
    await w.quiet()
    await w.dark()
    w.site.book(1, 4)  # told to nobody
    w.site.roll_back(kept)
    await w.site.restart()
    w.heal()
    await asyncio.sleep(w.limits.hello_every_s * 3)
    await repaired(w)
    must(refused(lambda: w.site.book(1, 4)) == "below_floor", "a site that forgot its sales sells the same slots again")


@scenario(rule="loss-2", guard="repair_takes_max")
async def a_hub_forgets_a_release(w: World):
    kept = w.hub.copy_of_books()
    first = await released(w)
    await w.hub.restore(kept)
    await repaired(w)
    await w.dark()
    w.site.book(3, first)
    must(refused(lambda: w.hub.book(3, first)), "both sides sell what was released and forgotten")


@scenario(rule="loss-2", guard="both_fenced_go_far")
async def both_forget_a_release_and_a_sale_in_it(w: World):
    hub, site = w.hub.copy_of_books(), w.site.copy_of_books()
    first = await released(w)
    await w.dark()
    w.site.book(3, first)  # told to nobody, and forgotten by the site itself
    await w.hub.restore(hub)
    await w.site.restore(site)
    w.heal()
    await repaired(w)
    await w.dark()
    must(refused(lambda: w.hub.book(3, first)), "the hub sells what the site sold before both forgot it")


@scenario(rule="loss-2", guard="merge_keeps_cancelled")
async def a_restored_site_still_has_a_booking_that_was_cancelled(w: World):
    [b] = w.hub.book(3, 40)
    await w.quiet()
    kept = w.site.copy_of_books()
    w.hub.cancel(b.id)
    await w.quiet()
    await w.site.restore(kept)
    await repaired(w)
    must(w.hub.booking(b.id).status == "cancelled", "a cancelled booking came back to life in the repair")


@scenario(rule="loss-2", guard="owed_stays_owed")
async def a_guest_comes_on_a_cancel_that_the_restored_site_forgot(w: World):
    [b] = w.hub.book(3, 40)
    await w.quiet()
    kept = w.site.copy_of_books()
    w.hub.cancel(b.id)
    await w.quiet()
    w.network.faults = Faults(delay_s=(0.5, 0.5))
    await w.site.restore(kept)
    await until(lambda: w.site.stream().repair and w.hub.stream().epoch == w.site.stream().epoch, 60)
    w.site.check_in(b.id)
    refusal = refused(lambda: w.hub.book(3, 40))
    w.network.faults = Faults()
    await repaired(w)
    must(refusal, "the hub resold the slot under a guest whom the restored site had let in")


@scenario(rule="loss-4", guard="floor_holds")
async def a_sale_that_only_the_lost_disk_had(w: World):
    kept = w.site.copy_of_books()
    await w.dark()
    w.site.book(1, 4)
    await w.site.restore(kept)
    w.heal()
    await repaired(w)
    must(refused(lambda: w.site.book(1, 4)) == "below_floor", "a restored site sells over what it sold and forgot")


@scenario(rule="loss-5", guard="old_box_retires", equal=False)
async def a_replaced_box_wakes(w: World):
    await w.quiet()
    old = await w.site.adopt(vouched=True, stated=True)
    await repaired(w)
    await old.restart()
    await asyncio.sleep(w.limits.hello_every_s * 3)
    code = refused(lambda: old.book(1, 8))
    for pump in old.pumps.values():
        await pump.close()
    await old.transport.stop()
    must(code == "retired", "a box that was replaced sells on")


@scenario(rule="loss-5", guard="new_hub_is_vouched")
async def a_hub_is_put_back_while_the_old_one_may_still_run(w: World):
    kept = w.hub.copy_of_books()
    await w.hub.restore(kept)
    w.hub.write(lambda tx, desk: boxes.mark_restored(tx, desk, SITE, vouched=False, stated=False))
    await asyncio.sleep(w.limits.hello_every_s * 4)
    must(refused(lambda: w.hub.book(3, 60)) == "fenced", "two hubs may sell the same slots")
    w.hub.vouch()
    await repaired(w)


@scenario(rule="loss-6", guard="one_hub")
async def another_hub_speaks_to_the_site(w: World):
    w.hub.write(lambda tx, desk: tx.run("UPDATE streams SET hub_id = 'another-hub'"))
    await w.hub.restart()
    await asyncio.sleep(w.limits.hello_every_s * 4)
    followed = w.site.up()
    w.hub.write(lambda tx, desk: tx.run("UPDATE streams SET hub_id = 'hub'"))
    must(not followed, "the site follows a hub that it is not married to")
