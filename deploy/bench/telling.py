"""How soon people hear: a confirmation, ten thousand reminders that fall due at once, and what becomes of a bay's guests when it fails.

Twilio and SendGrid are emulated in this process, so that the moment a message reaches them is read from the clock by which it was caused.
Invariant: every message counted was for the guest it was meant for, and none came after its moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

from cloud_hub import app as hub_app
from cloud_hub.services.notifying import SINCE
from cloud_hub.store import settings
from deploy.bench import children, facility, history, results, servers
from deploy.bench.bench import Bench
from deploy.bench.caller import Caller
from deploy.bench.facility import BAYS, SITE, Facility, until
from deploy.bench.results import BenchError, Entry, Factor
from deploy.demo.clients import iso, new_id
from deploy.emulators.message_vendors import MessageVendors
from deploy.emulators.messages.sendgrid_api import SendGridSettings
from deploy.emulators.messages.twilio_api import SERVICE, Sms, TwilioSettings
from deploy.emulators.messages.vendors import Settings
from shared import messages as m
from shared import notifications
from shared.ledger import apply, records
from shared.ledger.desk import Desk
from shared.model import Booking, Customer, Order
from shared.runtime.database import Tx
from site_agent import app as site_app

RUNS, BOOKINGS = 5, 40
CONFIRM_BAR_S, CONFIRM_PERCENT = 1.0, 95
#: a guest books, then the next one
PAUSE_S = 0.05
REMINDERS, BURST_BAR_S, BURST_RUNS = 10_000, 60.0, 5
#: how many requests at once the vendor takes of one account, and what each takes there
IN_FLIGHT, LATENCY_S = 100, 0.05
BURST_WITHIN_S = 300.0
#: the reminders of what begins from 45 minutes on are still worth sending; a booking that begins in 2 h is just due
FIRST_SLOTS, STARTS = 3, 5
#: bookings of the bay that fails, and how many of them have no other bay at their time
DISPLACED, HOMELESS, DISPLACE_BAR_S = 30, 3, 5.0
SENDER = "desk@example.test"

CHANNELS_TOML = """
[channels.twilio]
account_sid = {account_sid}
auth_token_file = "twilio.token"
sender = "{service}"
base_url = "{twilio_url}"

[channels.sendgrid]
api_key_file = "sendgrid.key"
sender = "{sender}"
webhook_public_key = {public_key}
base_url = "{sendgrid_url}"
"""


@contextlib.asynccontextmanager
async def _vendors(place: Facility) -> AsyncIterator[MessageVendors]:
    """Both vendors, named in the hub's settings; what becomes of a message is reported to the hub."""
    chosen = Settings(
        twilio=TwilioSettings(in_flight_max=IN_FLIGHT, latency_s=LATENCY_S),
        sendgrid=SendGridSettings(senders=(SENDER,), events_url=f"{place.hub_url}/hooks/sendgrid", latency_s=LATENCY_S),
    )
    vendors = MessageVendors(chosen)
    await vendors.start()
    hub = place.folder / "hub"
    facility.write(hub / "twilio.token", vendors.twilio.auth_token)
    facility.write(hub / "sendgrid.key", vendors.sendgrid.api_key)
    with (hub / "hub.toml").open("a") as file:
        file.write(
            CHANNELS_TOML.format(
                account_sid=json.dumps(vendors.twilio.account_sid), service=SERVICE, twilio_url=vendors.twilio_url, sender=SENDER,
                public_key=json.dumps(vendors.sendgrid.public_key), sendgrid_url=vendors.sendgrid_url,
            )  # fmt: skip
        )
    try:
        yield vendors
    finally:
        await vendors.stop()


@contextlib.asynccontextmanager
async def _opened(bench: Bench) -> AsyncIterator[tuple[Facility, MessageVendors]]:
    """A facility that serves, linked, whose hub writes to the emulated vendors."""
    async with facility.prepared(bench, doors=False) as place, _vendors(place) as vendors:
        code = place.leave_pairing()
        with place.run_hub(children.SERVER_CORE), place.run_site():
            await until("The hub of the bench did not serve", place.hub.ready)
            await place.settled(code)
            yield place, vendors


def phone(number: int) -> str:
    """An invented number, as it is written to."""
    return f"+1902555{number:04d}"


# ---- a confirmation
async def confirmed(bench: Bench) -> list[Entry]:
    """`confirm_wire`."""
    async with _opened(bench) as (place, vendors):
        runs, factors = [], [await bench.echo()]
        for number in range(1, RUNS + 1):
            await place.quiet()
            took_s = await _run(place, vendors, (number - 1) * BOOKINGS)
            runs.append(results.percentile(took_s, CONFIRM_PERCENT))
            bench.say(f"run {number}: p95 {runs[-1] * 1000:.0f} ms, p50 {results.percentile(took_s, 50) * 1000:.0f} ms")
        factors.append(await bench.echo())
    factor = max(factors, key=lambda one: one.times)
    what = (
        f"a booking on the web, half of them decided by the site, from the request to the later of its SMS and its mail at the emulated vendors, p95 of"
        f" {BOOKINGS}, median of {RUNS} runs (runs {', '.join(f'{run:.2f}' for run in runs)} s; {CONFIRM_BAR_S:g} s × {factor})"
    )
    return [results.at_most("confirm_wire", what, results.percentile(runs, 50), CONFIRM_BAR_S * factor.times, "s")]


async def _run(place: Facility, vendors: MessageVendors, first: int) -> list[float]:
    """Seconds from each request until both its messages had been taken."""
    asked = await asyncio.to_thread(_book, place, first)

    async def heard() -> bool:
        return len(_arrived(vendors)) >= first + BOOKINGS

    await until("Not every confirmation arrived", heard)
    arrived = _arrived(vendors)
    return [arrived[number] - at for number, at in asked.items()]


def _book(place: Facility, first: int) -> dict[int, float]:
    """Books hours near and far in turn; when each guest asked (unix seconds)."""
    caller, asked = Caller(place.hub_url, place.api_key), {}
    near = int(time.time()) // 1800 * 2 + 6
    try:
        for number in range(first, first + BOOKINGS):
            bay, start = number // 2 % BAYS + 1, near + number // 2 // BAYS * 4 + (0 if number % 2 else 5 * history.DAY)
            body = {
                "booking_id": new_id(), "resource_id": f"{SITE}.box-{bay}", "start": iso(start), "end": iso(start + 4),
                "customer": {"name": f"Testa Birdie {number}", "phone": phone(number), "email": f"wire-{number}@example.test"},
            }  # fmt: skip
            asked[number] = time.time()
            status, _, answer = caller.ask("POST", "/api/v1/bookings", body)
            if status != 201:
                raise BenchError(f"A time was not sold; the hub answered {status}: {answer[:200]!r}")
            time.sleep(PAUSE_S)
    finally:
        caller.close()
    return asked


def _arrived(vendors: MessageVendors) -> dict[int, float]:
    """The guest's number -> when both SMS and mail were there."""
    sms = {int(one.to[-4:]): one.created_at for one in vendors.sms}
    mails = {int(one.to.partition("@")[0].rpartition("-")[2]): one.at for one in vendors.mail}
    return {number: max(at, mails[number]) for number, at in sms.items() if number in mails}


# ---- ten thousand reminders
async def reminded(bench: Bench) -> list[Entry]:
    """`reminder_burst`: a hub that was off comes back, and the reminders of ten thousand bookings are due."""
    runs, factors = [], []
    for number in range(1, BURST_RUNS + 1):
        factors.append(await bench.echo())
        runs.append(await _burst(bench))
        bench.say(f"run {number}: {REMINDERS} reminders in {runs[-1]:.1f} s, {REMINDERS / runs[-1]:.0f} /s")
    factors.sort(key=lambda one: one.times)
    factor: Factor = factors[len(factors) // 2]
    what = (
        f"{REMINDERS:,} reminders due at once at the hub, from its first answer to the last SMS taken by an emulated Twilio that allows {IN_FLIGHT} requests at"
        f" once and takes {LATENCY_S * 1000:.0f} ms for each; earliest start first, none after its moment; median of {BURST_RUNS}"
        f" (runs {', '.join(f'{run:.0f}' for run in runs)} s; {BURST_BAR_S:g} s × {factor})"
    )
    return [results.at_most("reminder_burst", what, results.percentile(runs, 50), BURST_BAR_S * factor.times, "s")]


async def _burst(bench: Bench) -> float:
    """Seconds from the hub's first answer until Twilio has the last reminder."""
    async with facility.prepared(bench, doors=False) as place, _vendors(place) as vendors:
        with place.run_hub():  # makes its books
            await until("The hub of the bench did not serve", place.hub.ready)
        starts = await asyncio.to_thread(_due, place)
        with place.run_hub(children.SERVER_CORE):
            await until("The hub of the bench did not serve", place.hub.ready)
            began = time.time()

            async def heard() -> bool:
                return len(vendors.twilio.messages) >= REMINDERS

            await until("Not every reminder was handed over", heard, BURST_WITHIN_S, 0.1)
        sound(vendors.sms, starts)
        return vendors.sms[-1].created_at - began


def _due(place: Facility) -> dict[str, int]:
    """Ten thousand guests who booked yesterday and begin within two hours, in the books of a hub that told people things already. Their
    telephone -> start (slot)."""
    desk = Desk("hub", clock=time.time, new_id=new_id, chance=lambda: 0.5, box_id="box-bench")
    books, first, starts = place.folder / "hub" / "data" / hub_app.DATABASE, desk.now_slot() + FIRST_SLOTS, {}
    bays = REMINDERS // STARTS

    def house(tx: Tx, _: int) -> None:
        servers.state_site(tx, desk, bays)
        settings.put(tx, SINCE, str(desk.now() - 6 * 3600))

    def one(tx: Tx, number: int) -> None:
        start = first + number % STARTS
        guest = Customer(id=f"guest-{number}", name=f"Testa Birdie {number}", phone=phone(number))
        order = Order(
            id=f"order-{number:05d}", reference=f"B{number:05d}", site_id=SITE, customer_id=guest.id, channel="web", created_at=desk.now() - 86_400
        )
        booking = Booking(
            id=f"booking-{number:05d}", order_id=order.id, site_id=SITE, resource_id=f"{SITE}.box-{number // STARTS + 1}", start=start,
            end=start + 1, status="confirmed", seller="site", sale_no=number + 1, pin=f"{number:06d}", customer_id=guest.id, shown_name=guest.name,
            price=history.PRICE, created_at=desk.now() - 86_400,
        )  # fmt: skip
        apply.apply(tx, desk, m.Sold(order=order, bookings=(booking,), customer=guest), apply.From(SITE))
        starts[phone(number)] = records.booking(tx, booking.id).start

    history.write(books, 1, house)
    history.write(books, REMINDERS, one)
    return starts


def sound(sent: list[Sms], starts: dict[str, int]) -> None:
    """Each guest once, in order of their starts but for what was under way at once, and in time."""
    if sorted(one.to for one in sent) != sorted(starts):
        raise BenchError("Not every guest got one reminder.")
    order = [starts[one.to] for one in sent]
    timing = notifications.TIMED["reminder"]
    late = [one for one in sent if one.created_at >= starts[one.to] * 900 + timing.from_s + timing.worth_s]
    # how far behind one that starts later a reminder came: what was under way together may change places
    worst = behind(order)
    if late or worst > 2 * IN_FLIGHT:
        raise BenchError(f"{len(late)} reminders came after their moment; one came {worst} places behind one that starts later.")


def behind(order: list[int]) -> int:
    """The most places that one came behind the first that starts later."""
    first_of: dict[int, int] = {}
    for place, start in enumerate(order):
        first_of.setdefault(start, place)
    by_start = sorted(first_of)
    worst = 0
    for earlier, later in pairwise(by_start):
        last = max(place for place, start in enumerate(order) if start == earlier)
        worst = max(worst, last - first_of[later])
    return worst



# ---- a bay that fails
async def displaced(bench: Bench) -> list[Entry]:
    """`displace`: staff block a bay with thirty bookings, of which three have no other bay at their time."""
    runs, factors = [], []
    for number in range(1, RUNS + 1):
        factors.append(await bench.echo())
        runs.append(await _failed(bench))
        bench.say(f"run {number}: {DISPLACED} guests after {runs[-1]:.2f} s")
    factors.sort(key=lambda one: one.times)
    factor = factors[len(factors) // 2]
    what = (
        f"a bay with {DISPLACED} bookings is blocked by staff, half of them the site's and half the hub's, {HOMELESS} without another bay at their time: from the"
        f" request until each is placed or queued on both sides and its guest's SMS is at the emulated Twilio; median of {RUNS}"
        f" (runs {', '.join(f'{run:.2f}' for run in runs)} s; {DISPLACE_BAR_S:g} s × {factor})"
    )
    return [results.at_most("displace", what, results.percentile(runs, 50), DISPLACE_BAR_S * factor.times, "s")]


async def _failed(bench: Bench) -> float:
    """Seconds from the block until everybody is placed, or queued, and told."""
    async with _opened(bench) as (place, vendors):
        near = int(time.time()) // 1800 * 2 + 6
        starts = [near + hour * 4 for hour in range(DISPLACED // 2)]
        starts += [near + 5 * history.DAY + hour * 4 for hour in range(DISPLACED - len(starts))]
        guests = await asyncio.to_thread(_fill, place, starts)
        await until("Not everybody was told of the booking", lambda: _so(len({one.to for one in vendors.sms}) >= len(starts) + len(guests)))
        await place.quiet()
        began = time.time()
        block = await place.staff.block(new_id("k"), f"{SITE}.box-1", starts[0], starts[-1] + 4, "maintenance", "The screen is torn")
        if not block.ok:
            raise BenchError(f"The bay could not be blocked: {block}")
        wanted = {phone(number) for number in range(len(starts))}
        await until(
            "Not every guest of the bay was told", lambda: _so({one.to for one in vendors.sms if one.created_at >= began} >= wanted)
        )
        told = {one.to: one for one in vendors.sms if one.created_at >= began}
        await place.quiet()
        for side in ("hub", "site"):
            _cared_for(place.folder / side / "data" / (hub_app.DATABASE if side == "hub" else site_app.DATABASE), len(starts))
        return max(one.created_at for one in told.values()) - began


async def _so(value: bool) -> bool:
    return value


def _fill(place: Facility, starts: list[int]) -> list[int]:
    """Books the bay at every start, and at the last ones all other bays as well. Who has those (numbers)."""
    caller, others = Caller(place.hub_url, place.api_key), []

    def book(number: int, bay: int, start: int) -> None:
        body = {
            "booking_id": new_id(), "resource_id": f"{SITE}.box-{bay}", "start": iso(start), "end": iso(start + 4),
            "customer": {"name": f"Testa Birdie {number}", "phone": phone(number)},
        }  # fmt: skip
        status, _, answer = caller.ask("POST", "/api/v1/bookings", body)
        if status != 201:
            raise BenchError(f"A time was not sold; the hub answered {status}: {answer[:200]!r}")

    try:
        for number, start in enumerate(starts):
            book(number, 1, start)
        for start in starts[-HOMELESS:]:
            for bay in range(2, BAYS + 1):
                others.append(len(starts) + len(others))
                book(others[-1], bay, start)
    finally:
        caller.close()
    return others


def _cared_for(books: Path, count: int) -> None:
    """Every booking of the bay has another one at its time in its place, or waits for a person. Raises BenchError."""
    placed = history.look(
        books,
        "SELECT COUNT(*) FROM bookings o JOIN bookings n ON json_extract(n.doc, '$.replaces') = o.id AND n.status = 'confirmed' AND n.first = o.first"
        " WHERE o.resource_id = ? AND o.status = 'cancelled'",
        f"{SITE}.box-1",
    )[0][0]
    queued = history.look(books, "SELECT COUNT(DISTINCT booking_id) FROM conflicts WHERE state = 'open'")[0][0]
    if (placed, queued) != (count - HOMELESS, HOMELESS):
        raise BenchError(f"Of {count} bookings of the bay {placed} were placed and {queued} queued.")
