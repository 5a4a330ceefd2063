"""The steps in which customers are told: what comes to a guest's telephone and mailbox, what STOP ends, what a forged call is answered.

For: `deploy.demo_check.steps`. Not for: how the hub decides what to send. Invariant: only what a guest receives, and what the vendors'
calls were answered, is looked at; the guest wants SMS again at the end.
"""

from typing import Any

from deploy.demo.clients import new_id
from deploy.demo.data import Person
from deploy.demo_check.walk import Sale, Walk, far, must, night, told, until, wanted
from shared import slots

TOLD_WITHIN_S = 10.0
#: each is not signed as Twilio signs
FORGERIES = ("wrong_key", "unsigned", "altered")


async def a_guest_is_told(walk: Walk) -> str:
    """Two bookings of one guest, the first in a night when clocks change if one is near: each brings an SMS and a mail with PIN and local time."""
    guest, place = walk.guest(), walk.places[0]
    if any(one["number"] == number_of(guest) for one in (await walk.inbox.state())["opted_out"]):
        await _answered(walk, guest, "START")  # an earlier check ended between this guest's STOP and START
    said = []
    for name in ("told", "told twice"):
        at = (await night(place) if not said else None) or await far(place, "instant", "hub")
        sale = Sale(place, new_id("check"), at, guest)
        answer = await walk.hub.book(sale.booking_id, (at.resource_id,), at.start, at.end, guest)
        pin = wanted(answer, 201, f"A booking on the web for {told(place, at)}")["pin"]
        walk.sold(name, sale)
        took_s = max([await _comes(walk, channel, sale, pin) for channel in ("sms", "mail")])
        said.append(f"{told(place, at)} after {took_s:.1f} s")
    return "SMS and mail came with the PIN and the facility's clock for " + " and ".join(said)


async def a_stop_is_heeded(walk: Walk) -> str:
    """After STOP a cancellation is told by mail only."""
    sale = walk.made["told twice"]
    guest = sale.guest
    assert guest is not None, "told above"
    await _answered(walk, guest, "STOP")
    sms, mails = len(await _received(walk, "sms", guest)), len(await _received(walk, "mail", guest))
    answer = await walk.hub.cancel(sale.booking_id, "the guest cannot come")
    must(answer.ok, f"The guest's cancellation was answered {answer}")

    async def told_by_mail() -> bool:
        newest = (await _received(walk, "mail", guest))[: -mails or None]
        return any(says(one, sale) and one["state"] == "delivered" for one in newest)

    await until("No mail told of the cancellation", told_by_mail, TOLD_WITHIN_S)
    must(len(await _received(walk, "sms", guest)) == sms, "An SMS came although the guest had answered STOP")
    await _answered(walk, guest, "START")
    return f"after STOP the cancellation of {told(sale.place, sale.at)} came by mail, and no SMS; START was heard as well"


async def a_forged_call_is_refused(walk: Walk) -> str:
    """Nobody but the vendor can say STOP in a guest's name."""
    guest = walk.made["told"].guest
    assert guest is not None, "told above"
    for how in FORGERIES:
        began = (await walk.inbox.state())["now"]
        await walk.inbox.forge(number_of(guest), "STOP", how)
        status = await _hook_answer(walk, began)
        must(status == 403, f"A forged call ({how.replace('_', ' ')}) to the hub's hook was answered {status} instead of 403")
    return f"{len(FORGERIES)} forged calls to /hooks/twilio were answered 403"


def number_of(guest: Person) -> str:
    """The guest's number as vendors write it (E.164)."""
    return f"+1{guest.phone.replace('-', '')}"


def says(message: dict[str, Any], sale: Sale) -> bool:
    """Whether it names the booking's day and both its ends by the facility's clock."""
    zone, at = sale.place.zone, sale.at
    day = slots.local_day(zone, at.start)
    return all(part in message["text"] for part in (str(day.day), f"{day:%b}", slots.label(zone, at.start), slots.label(zone, at.end)))


async def _comes(walk: Walk, channel: str, sale: Sale, pin: str) -> float:
    """Waits for a message with the PIN and the time; the seconds it took."""
    guest = sale.guest
    assert guest is not None, "a guest who is told"

    async def came() -> bool:
        return any(says(one, sale) and pin in one["text"] for one in await _received(walk, channel, guest))

    return await until(f"No {channel} with the PIN and the local time of {told(sale.place, sale.at)} came", came, TOLD_WITHIN_S)


async def _received(walk: Walk, channel: str, guest: Person) -> list[dict[str, Any]]:
    return await walk.inbox.received(channel, number_of(guest) if channel == "sms" else guest.email)


async def _answered(walk: Walk, guest: Person, word: str) -> None:
    """The guest writes a word, and the hub takes it."""
    began = (await walk.inbox.state())["now"]
    await walk.inbox.answer(number_of(guest), word)
    status = await _hook_answer(walk, began)
    must(status == 200, f"The guest's {word} was answered {status} by the hub")


async def _hook_answer(walk: Walk, began: float) -> int:
    """What the hub answered to the first call about an SMS to it since `began`; receipts of our own letters have a query."""
    found: list[int] = []

    async def called() -> bool:
        attempts = (await walk.inbox.state())["webhooks"]["attempts"]
        found[:] = [one["status"] for one in attempts if one["at"] >= began and one["url"].endswith("/hooks/twilio")]
        return bool(found)

    await until("The hub was not called about an SMS to it", called, TOLD_WITHIN_S)
    return found[0]
