"""Makes the demo's wishes true through the product's own doors: the hub's API, the staff's and the kiosk's at each site.

For: `deploy.demo.main`. Keys and pairing codes are left where the products' own commands leave them for a running app, as hashes.
Invariant: nothing is written into anybody's books here; what an app refuses is counted and shown, and anything but a refusal ends the demo.
"""

import asyncio
import time

import msgspec

from cloud_hub.services import api_keys
from cloud_hub.store import folder as hub_folder
from deploy.demo import data
from deploy.demo.addresses import DemoError, Plan, SitePlan
from deploy.demo.clients import Answer, Hub, Kiosk, Staff, new_id
from deploy.demo.data import Repair, Wish
from site_agent.services import people
from site_agent.store import spool

AT_ONCE = 6
PAIRING_S = 300


class Filled(msgspec.Struct):
    """What came of the wishes, for one line at the terminal."""

    bookings: int = 0
    blocks: int = 0
    checked_in: int = 0
    refused: int = 0

    def __str__(self) -> str:
        if not self.bookings:
            return "the books of the last run"
        told = f"{self.bookings} bookings, {self.checked_in} guests inside, {self.blocks} box out of service"
        return f"{told}, {self.refused} refused" if self.refused else told


# ---- keys and codes
def leave_api_key(plan: Plan) -> str:
    """Leaves a new key with every scope for the hub to take in; the token."""
    key, token = api_keys.make("The demo", list(api_keys.SCOPES), int(time.time()))
    hub_folder.wish(plan.hub_folder / "data", msgspec.json.encode(api_keys.KeyWish(add=key)))
    return token


def leave_pairing(site: SitePlan, screen: str) -> str:
    """Leaves a pairing code for a screen of this name; the code."""
    code = people.new_code()
    errand = spool.Errand(kind="pairing", name=screen, secret_hash=people.code_hash(code), ends_at=int(time.time()) + PAIRING_S)
    spool.leave(site.folder / "data" / people.SPOOL, errand)
    return code


# ---- data
async def fill(plan: Plan, hub: Hub, staff: dict[str, Staff], kiosks: dict[str, Kiosk]) -> Filled:
    """Books, blocks and checks in what `data` wishes. Raises DemoError where an app answers with anything but a yes or a refusal."""
    described = plan.described
    wishes, repairs = data.wishes(int(time.time()), described.zone, described.facilities)
    done, gate = Filled(), asyncio.Semaphore(AT_ONCE)

    async def one(wish: Wish) -> None:
        async with gate:
            await _book(wish, hub, staff[wish.site_id], kiosks[wish.site_id], done)

    for repair in repairs:
        await _block(repair, staff[repair.site_id], done)
    await asyncio.gather(*(one(wish) for wish in wishes))
    if not done.bookings:
        raise DemoError("Nothing could be booked, so there is nothing to show. The logs in the demo's folder say why.")
    return done


async def _book(wish: Wish, hub: Hub, staff: Staff, kiosk: Kiosk, done: Filled) -> None:
    bays = tuple(f"{wish.site_id}.box-{number}" for number in wish.boxes)
    booking_id = new_id()
    if wish.way == "web":
        answer = await hub.book(booking_id, bays, wish.start, wish.end, wish.person, wish.guests)
    else:
        clerk = staff if wish.way == "staff" else kiosk
        answer = await clerk.book(booking_id, bays[0], wish.start, wish.end, wish.person, wish.guests)
    if not _yes(answer, done):
        return
    done.bookings += 1
    if wish.present and _yes(await kiosk.check_in(answer.body["booking"]["pin"]), done):
        done.checked_in += 1


async def _block(repair: Repair, staff: Staff, done: Filled) -> None:
    bay = f"{repair.site_id}.box-{repair.box}"
    if _yes(await staff.block(new_id("k"), bay, repair.start, repair.end, "maintenance", repair.reason), done):
        done.blocks += 1


def _yes(answer: Answer, done: Filled) -> bool:
    if answer.ok:
        return True
    if answer.status not in (403, 409, 422):
        raise DemoError(f"The demo's data could not be filled in; an app answered {answer}")
    done.refused += 1
    return False
