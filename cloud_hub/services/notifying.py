"""Tells customers what concerns their bookings: what happened is planned in the transaction in which it happened, what the clock causes is a
projection of the bookings, and every message is a work row (N1 to N6).

A plan is a row of the lane `plan`: one for an event of an order. It becomes a row for each channel when it is due. What is told is judged again
when a row is claimed: whoever cancelled meanwhile is not reminded. Not here: words (`wording`), vendors, who may send.

Invariant: no row, no message; a row's id says what for, so that nothing is planned twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from shared import notifications
from shared.ledger import records, repair, secured, streams, work
from shared.ledger.desk import Desk
from shared.ledger.frontdesk import House, Houses
from shared.ledger.work import Work
from shared.ledger.worker import RECEIPT_S, Drop, Wait
from shared.model import Booking, Customer
from shared.notifications import ChannelName, Event
from shared.outcomes import Misconfigured, Never, Outcome, Taken, Unknown
from shared.runtime.clock import Clock
from shared.runtime.database import Database, InlineWriter, Tx

from ..ports import Channel, Inbound, Letter, Receipt
from ..store import notifications as kept
from ..store import settings
from .addresses import address_of
from .customer_links import CustomerLinks
from .letters import Letters
from .link import Links
from .wording import Wording

#: the lane of plans: our own, no vendor's
PLAN = "plan"
#: what the clock causes and is told; a survey asks for an answer, and is told once there is a page that takes it
SWEPT: tuple[Event, ...] = tuple(event for event in notifications.TIMED if event != "survey")
#: an order that is not settled yet, or whose sale one machine alone holds, is looked at again after this long
AGAIN_S = 3
#: a reminder of a booking that has lost its bay waits this long for another one
PLACE_S = 60
#: a refusal this soon after the request was shown where it was asked
SEEN_S = 10
#: how far a sweep has looked is written down so often: what it looks at twice is planned once
LOOKED, LOOKED_EVERY_S = "notified", 60
#: what was due before is not told; beside it, behind a bar, a facility's own since its books here were set back
SINCE = "notified_since"
#: bookings looked at in one transaction of a sweep
SWEEP_MAX = 200
#: no booking is longer: of what is due after the end, so far back the start is looked for
LONGEST_SLOTS = 96


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """The body of a row: which event of which bookings of an order, by which channel, and, once it was its turn, the very letter.

    `target` names the push subscription; other addresses are looked up when it is its turn, since people correct them.
    """

    event: Event
    order_id: str
    bookings: tuple[str, ...]
    channel: str = ""
    target: str = ""
    letter: Letter | None = None


_told = msgspec.json.Decoder(Told).decode


class Notifying:
    """`channels`: name of the channel -> who sends by it. Follows bookings in the hub's books; the worker asks it as `plan` and `message`.

    A hub without channels plans nothing: what would be told later, when there are some, would be no news any more.
    """

    def __init__(
        self,
        *,
        db: Database | InlineWriter,
        desk: Desk,
        clock: Clock,
        houses: Houses,
        links: Links,
        customer_links: CustomerLinks,
        wording: Wording,
        channels: Mapping[str, Channel],
        public_url: str,
    ):
        self.db, self._desk, self._clock, self._houses = db, desk, clock, houses
        self._letters = Letters(houses, links, customer_links, wording, public_url)
        self.channels = dict(channels)
        #: facilities of which the last sweep told nothing; None before the first
        self._shut: frozenset[str] | None = None
        self.plans, self.messages = Plans(self), Messages(self)
        if self.channels:
            db.follow("booking", self.follow)
            db.follow("fenced", lambda tx, site_ids: set_back(tx, site_ids, desk.now()))

    # ---- what happened
    def follow(self, tx: Tx, booking_ids: list[str]) -> None:
        """In the transaction of the change: one plan for what happened to the bookings of an order."""
        if repair.restates(tx):
            return  # books put together again: what they say has been told, or is too old to be
        now = self._desk.now()
        caused: dict[tuple[str, Event], list[tuple[str, Booking]]] = {}
        for booking_id in booking_ids:
            b = records.booking(tx, booking_id)
            found = self._caused(tx, b, now) if b is not None else None
            if found is not None:
                caused.setdefault((b.order_id, found[0]), []).append((found[1], b))
        for (order_id, event), parts in caused.items():
            bookings = [b for _, b in parts]
            moment = notifications.news(max(bookings, key=lambda b: b.ends_at), now)
            self._plan(tx, event, parts[0][0], order_id, bookings, moment, now)

    def _caused(self, tx: Tx, b: Booking, now: int) -> tuple[Event, str] | None:
        """The event that a booking's state is, and what it is one of; None where there is no news in it."""
        if b.ends_at <= now or b.withdrawn:
            return None
        if b.status == "confirmed":
            n = self._displaced_before(tx, b)
            if b.displaced:
                return "displaced", f"{b.id}|{n + 1}"
            if n and work.one(tx, _plan_id("placed", f"{b.id}|{n}")) is None:
                return "placed", f"{b.id}|{n}"
            if b.created_at < now - notifications.NEWS_S:
                return None  # old news: books that were put together again tell of every booking
            return ("moved", b.id) if b.replaces else ("confirmed", b.order_id)
        if b.status == "cancelled" and not b.replaced_by and b.reason not in ("moved", "withdrawn"):
            told = work.one(tx, _plan_id("moved", b.id)) or work.one(tx, _plan_id("confirmed", b.order_id))
            let_go = b.created_at <= now - work.KEPT_S  # what was told of it then is not kept any more
            return ("cancelled", b.id) if (told or let_go) and not self._was_cancelled_before(tx, b) else None
        if b.status in ("declined", "expired") and not b.replaces and now - b.created_at > SEEN_S:
            return "declined", b.order_id
        return None

    @staticmethod
    def _was_cancelled_before(tx: Tx, b: Booking) -> bool:
        """Whether it was part of a cancellation that is planned: those that end together have one row, under the first one's id."""
        plans = (row for row in work.about(tx, b.order_id) if row.id.startswith(_plan_id("cancelled", "")) and row.kind == "plan")
        return any(b.id in _told(row.body.encode()).bookings for row in plans)

    @staticmethod
    def _displaced_before(tx: Tx, b: Booking) -> int:
        """How often this booking has lost its bay, as it was told; while it has none, the time under way does not count."""
        n = 0
        while work.one(tx, _plan_id("displaced", f"{b.id}|{n + 1}")) is not None:
            n += 1
        under_way = n and b.displaced and work.one(tx, _plan_id("placed", f"{b.id}|{n}")) is None
        return n - 1 if under_way else n

    def _plan(
        self, tx: Tx, event: Event, key: str, order_id: str, bookings: Iterable[Booking], moment: notifications.Moment, now: int
    ) -> bool:
        parts = sorted(bookings, key=lambda b: (b.start, b.resource_id))
        body = Told(event=event, order_id=order_id, bookings=tuple(b.id for b in parts))
        return work.put(
            tx,
            Work(
                id=_plan_id(event, key),
                kind="plan",
                lane=PLAN,
                site_id=parts[0].site_id,
                subject=order_id,
                who=parts[0].customer_id,
                rank=parts[0].start,
                due_at=moment.due_at,
                until_at=moment.until_at,
                body=msgspec.json.encode(body).decode(),
                created_at=now,
            ),
        )

    # ---- what the clock causes
    async def sweep(self) -> int:
        """Plans what has become due since the last look, of bookings as they stand now. A restart loses nothing: how far it looked is in the
        books. Returns how many were planned."""
        if not self.channels or self._desk.clock_doubt():
            return 0
        planned, now = 0, self._desk.now()
        looked, since, shut = self.db.read(self._how_far)
        if not since:  # a hub that begins to tell
            await self.db.write(lambda tx: (settings.put(tx, SINCE, str(now)), settings.put(tx, LOOKED, str(now))))
            return 0
        if self._shut is None or self._shut - shut:
            looked = 0  # some were passed over: all that is still worth telling is looked at once more
        self._shut = shut
        for event in SWEPT:
            first, past = notifications.window(event, now)
            if looked:
                first = max(first, notifications.window(event, looked)[1] - 2)
            due = self.db.read(lambda tx, event=event, first=first, past=past: self._due(tx, event, first, past, since, shut, now))
            for at in range(0, len(due), SWEEP_MAX):
                part = due[at : at + SWEEP_MAX]
                planned += await self.db.write(lambda tx, part=part, event=event, now=now: self._plan_timed(tx, event, part, now))
        if not 0 <= now - looked < LOOKED_EVERY_S:
            await self.db.write(lambda tx: settings.put(tx, LOOKED, str(now)))
        return planned

    @staticmethod
    def _how_far(tx: Tx) -> tuple[int, int, frozenset[str]]:
        """How far the last sweep looked, from when on we tell what is due (0: never yet), and the facilities whose books are being put
        together again."""
        known = (streams.read(tx, site_id) for site_id in streams.sites(tx))
        shut = frozenset(s.site_id for s in known if s is not None and (s.fenced or s.repair))
        return int(settings.get(tx, LOOKED) or 0), int(settings.get(tx, SINCE) or 0), shut

    @staticmethod
    def _due(tx: Tx, event: Event, first: int, past: int, since: int, shut: frozenset[str], now: int) -> list[tuple[str, list[str]]]:
        """`(key, booking ids)`: the bookings of an order that begin (or end) together, and of which this is due, and was not before `since`.
        Nothing of the facilities in `shut`."""
        reach = LONGEST_SLOTS if notifications.TIMED[event].of_end else 0
        since_of = {site_id: max(since, int(settings.get(tx, _since_of(site_id)) or 0)) for site_id in streams.sites(tx)}
        found: dict[str, list[str]] = {}
        for b in kept.standing_between(tx, first, past, reach):
            moment = notifications.timed(event, b)
            if moment is None or b.site_id in shut:
                continue
            if since_of[b.site_id] < moment.due_at <= now < moment.until_at:
                found.setdefault(f"{b.order_id}|{b.start}", []).append(b.id)
        return [(key, ids) for key, ids in found.items() if work.one(tx, _plan_id(event, key)) is None]

    def _plan_timed(self, tx: Tx, event: Event, due: list[tuple[str, list[str]]], now: int) -> int:
        planned = 0
        for key, booking_ids in due:
            bookings = [b for one in booking_ids if (b := records.booking(tx, one)) is not None and b.status == "confirmed"]
            moments = [m for b in bookings if (m := notifications.timed(event, b)) is not None]
            if moments:
                planned += self._plan(tx, event, key, bookings[0].order_id, bookings, moments[0], now)
        return planned

    async def forget(self) -> int:
        """Lets go of rows and reports that are over long ago."""
        now = self._desk.now()
        return await self.db.write(lambda tx: work.forget(tx, now) + kept.forget(tx, now))

    # ---- what is still true
    def standing(self, tx: Tx, told: Told, now: int) -> list[Booking] | Drop | Wait:
        """The bookings that this is still true of, when it is its turn."""
        bookings = [b for one in told.bookings if (b := records.booking(tx, one)) is not None]
        if told.event == "cancelled":
            kept_ = [b for b in bookings if b.status == "cancelled"]
        elif told.event == "declined":
            kept_ = [b for b in bookings if b.status in ("declined", "expired")]
        else:
            return self._valid(tx, told, bookings, now)
        return kept_ or Drop("no_longer", "It is not so any more.")

    def _valid(self, tx: Tx, told: Told, bookings: list[Booking], now: int) -> list[Booking] | Drop | Wait:
        if told.event == "confirmed":
            bookings = [b for b in records.bookings_of_order(tx, told.order_id) if not b.replaces]
            if any(b.status in ("requested", "pending") for b in bookings):
                return Wait(now + AGAIN_S, "A part of the order waits for its facility's answer.")
        valid = [b for b in bookings if b.status == "confirmed" and not b.withdrawn]
        if not valid:
            return Drop("no_longer", "The booking was cancelled or moved before this was sent.")
        if any(secured.told(tx, self._desk, b).status != "confirmed" for b in valid):
            return Wait(now + AGAIN_S, "One machine alone holds the sale yet.")
        if told.event == "displaced":
            valid = [b for b in valid if b.displaced]
            return valid or Drop("no_longer", "It has a place again.")
        known = {b.id: records.attendance(tx, b.id) for b in valid}
        seen = {booking_id: a.state if a is not None else "" for booking_id, a in known.items()}
        seats = {booking_id: a.seat if a is not None else "" for booking_id, a in known.items()}
        if told.event in ("reminder", "check_in"):
            valid = [b for b in valid if not seen[b.id]]
            if not valid:
                return Drop("no_longer", "The guest is there already, or the visit is over.")
            placed = [b for b in valid if not b.displaced or seats[b.id]]
            return placed or Wait(now + PLACE_S, "It has no bay just now, and its guest was told so.")
        if told.event in notifications.COURTESY:
            valid = [b for b in valid if seen[b.id] in ("checked_in", "completed")]
            return valid or Drop("no_visit", "Nobody is known to have come.")
        return valid

    def house(self, tx: Tx, site_id: str) -> House:
        return self._houses.of(tx, site_id)

    def written(self, tx: Tx, told: Told, bookings: list[Booking], customer: Customer, mark: str, channel: str, to: str) -> Letter:
        return self._letters.letter(tx, told.event, told.order_id, bookings, customer, channel=channel, to=to, key=mark)

    def said(self, order_id: str) -> list[kept.AppMessage]:
        """What was said about an order where its customer reads it, the newest first."""
        return self.db.read(lambda tx: kept.app_messages(tx, order_id))

    # ---- what vendors say
    async def heard(self, news: list[Receipt | Inbound]) -> None:
        """A vendor's reports and people's answers, all or none of them in the books when this comes back."""
        await self.db.write(lambda tx: [self._heard(tx, one) for one in news])

    def _heard(self, tx: Tx, one: Receipt | Inbound) -> None:
        now = self._desk.now()
        if one.id and not kept.is_new(tx, one.id, now):
            return
        if isinstance(one, Inbound):
            if one.word == "stop":
                kept.suppress(tx, "sms", one.sender, "stop", one.text[:160], now)
            elif one.word == "start":
                kept.allow(tx, "sms", one.sender)
            return
        row = work.reported(tx, one.key, one.ref)
        told = _told(row.body.encode()) if row is not None and row.kind == "message" else None
        to = one.to or (told.letter.to if told is not None and told.letter is not None else "")
        if to and told is not None:
            self._suppressed_by(tx, told.channel, to.lower(), one, now)
        if row is None:
            return
        unsure = row.state in ("taken", "unknown", "waiting") or (row.state == "stuck" and row.code == "unknown")
        if one.state == "delivered":
            if unsure or row.state == "sent":
                work.end(tx, row, now, "done", ref=one.ref)
        elif one.state in ("failed", "bounced", "dropped"):
            if row.state not in work.ENDED:
                work.end(tx, row, now, "stuck", one.code or one.state, one.reason or "The vendor could not deliver it.", ref=one.ref)
        elif one.state in ("accepted", "sent") and unsure:
            work.sent(tx, row, now, one.ref, now + RECEIPT_S)

    @staticmethod
    def _suppressed_by(tx: Tx, channel: str, to: str, one: Receipt, now: int) -> None:
        if one.opted_out:
            kept.suppress(tx, channel, to, "stop", one.reason, now)
        elif one.state in ("complained", "unsubscribed"):
            kept.suppress(tx, channel, to, one.state, one.reason, now)
        elif one.dead_address:
            kept.suppress(tx, channel, to, "bounced" if one.state == "bounced" else "dead", one.reason, now)


class Plans:
    """Does the rows of the kind `plan`: one becomes a row for each channel by which its customer is to hear of it."""

    def __init__(self, of: Notifying):
        self._of = of

    def judge(self, tx: Tx, row: Work, now: int) -> list[str] | Drop | Wait:
        told = _told(row.body.encode())
        bookings = self._of.standing(tx, told, now)
        if isinstance(bookings, Drop | Wait):
            return bookings
        customer = records.customer(tx, bookings[0].customer_id)
        if customer is None:
            return Drop("nobody", "Nobody is known to tell.")
        chosen = kept.preferences(tx, customer.id)
        names = notifications.channels(told.event, chosen, self._able(tx, customer))
        told = msgspec.structs.replace(told, bookings=tuple(b.id for b in bookings))
        for name in names:
            if name == "app":
                self._to_read(tx, row, told, bookings, customer, now)
                continue
            targets = [one for one, _ in kept.subscriptions(tx, customer.id)] if name == "push" else [""]
            for target in targets:
                self._put(tx, row, msgspec.structs.replace(told, channel=name, target=target), now)
        return list(names) or Drop("no_channel", "There is no address, or the customer wants nothing by any channel.")

    def _able(self, tx: Tx, customer: Customer) -> tuple[ChannelName, ...]:
        there: list[ChannelName] = []
        for name in ("sms", "mail"):
            to = address_of(customer, name)
            if name in self._of.channels and to and kept.suppressed(tx, name, to) is None:
                there.append(name)
        if "push" in self._of.channels and kept.subscriptions(tx, customer.id):
            there.append("push")
        return (*there, "app")

    def _to_read(self, tx: Tx, row: Work, told: Told, bookings: list[Booking], customer: Customer, now: int) -> None:
        letter = self._of.written(tx, told, bookings, customer, row.mark, "app", customer.id)
        kept.put_app_message(tx, row.id, customer.id, told.order_id, letter.subject, letter.text, letter.url, now)

    def _put(self, tx: Tx, row: Work, told: Told, now: int) -> None:
        work.put(
            tx,
            Work(
                id=f"{row.id}|{told.channel}" + (f"|{told.target}" if told.target else ""),
                kind="message",
                lane=self._of.channels[told.channel].vendor,
                site_id=row.site_id,
                subject=row.subject,
                who=row.who,
                rank=row.rank,
                due_at=now,
                until_at=row.until_at,
                body=msgspec.json.encode(told).decode(),
                created_at=now,
            ),
        )

    async def do(self, row: Work, what: list[str]) -> Outcome:
        return Taken(final=True)

    async def find(self, row: Work) -> Outcome | None:
        return None  # its rows are written in the transaction that claims it, or not at all

    def settled(self, tx: Tx, row: Work, outcome: Outcome) -> None:
        return None


class Messages:
    """Does the rows of the kind `message`: one letter to one address."""

    def __init__(self, of: Notifying):
        self._of = of

    def judge(self, tx: Tx, row: Work, now: int) -> Letter | Drop | Wait:
        told = _told(row.body.encode())
        bookings = self._of.standing(tx, told, now)
        if isinstance(bookings, Drop | Wait):
            return bookings
        customer = records.customer(tx, bookings[0].customer_id)
        if customer is None:
            return Drop("nobody", "Nobody is known to tell.")
        chosen = kept.preferences(tx, customer.id)
        if told.channel in chosen.off:
            return Drop("off", "The customer wants nothing by this channel.")
        zone = self._of.house(tx, bookings[0].site_id).facility.zone
        at = notifications.not_before(told.event, chosen, zone, now)
        if at > now:
            return Wait(at, "The customer's quiet hours.")
        to = kept.subscription(tx, told.target) if told.channel == "push" else address_of(customer, told.channel)
        if not to:
            return Drop("no_address", "There is no address any more.")
        if (why := kept.suppressed(tx, told.channel, to)) is not None:
            return Drop("suppressed", f"This address is not written to: {why.reason or why.why}")
        letter = self._of.written(tx, told, bookings, customer, row.mark, told.channel, to)
        letter = msgspec.structs.replace(letter, expires_at=row.until_at)
        work.prepared(tx, row, now, msgspec.json.encode(msgspec.structs.replace(told, letter=letter)).decode())
        return letter

    async def do(self, row: Work, what: Letter) -> Outcome:
        channel = self._channel(row)
        return Misconfigured("No channel of this vendor is configured any more.") if channel is None else await channel.send(what)

    async def find(self, row: Work) -> Outcome | None:
        channel, letter = self._channel(row), _told(row.body.encode()).letter
        if channel is None or letter is None:
            return Unknown("Nobody is configured who could tell.")
        if not channel.finds:
            return Unknown("Only the vendor's own report can tell whether it was sent.")
        return await channel.find(letter, row.since_at)

    def _channel(self, row: Work) -> Channel | None:
        return next((one for one in self._of.channels.values() if one.vendor == row.lane), None)

    def settled(self, tx: Tx, row: Work, outcome: Outcome) -> None:
        """An address that turned out to be dead, or to want nothing, is not written to again."""
        if not isinstance(outcome, Never) or not (outcome.dead_address or outcome.opted_out):
            return
        told = _told(row.body.encode())
        if told.channel == "push":
            kept.unsubscribe(tx, told.target)
        elif told.letter is not None:
            why = "stop" if outcome.opted_out else "dead"
            kept.suppress(tx, told.channel, told.letter.to, why, outcome.reason, row.changed_at)


def set_back(tx: Tx, site_ids: Iterable[str], now: int) -> None:
    """In the transaction of their fence (loss-1): nobody knows what these facilities' guests have been told of what was due before."""
    for site_id in site_ids:
        settings.put(tx, _since_of(site_id), str(now))


def _since_of(site_id: str) -> str:
    return f"{SINCE}|{site_id}"


def _plan_id(event: Event, key: str) -> str:
    return f"{event}|{key}"
