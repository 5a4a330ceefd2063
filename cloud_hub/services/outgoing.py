"""From a plan to letters: the rows of the kinds `plan` and `message`, judged in the transaction that claims them.

A plan becomes a row for each channel by which its customer is to hear of it; a message is one letter to one address. What is told is judged
again each time, by the books as they stand then: whoever cancelled meanwhile is not reminded. Not here: what causes a plan (`notifying`),
what vendors report (`reports`), words.

Invariant: no letter is written of what is not so any more, nor to somebody who wants none.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from shared import notifications, overtime, rules, slots
from shared.ledger import claims, displaced, records, secured, work
from shared.ledger.desk import Desk
from shared.ledger.frontdesk import Houses
from shared.ledger.work import Work
from shared.ledger.worker import Drop, Wait
from shared.model import Booking, Customer, Interval
from shared.notifications import ChannelName, Event
from shared.outcomes import Misconfigured, Never, Outcome, Taken, Unknown
from shared.runtime.database import Tx

from ..ports import Channel, Letter
from ..store import notifications as kept
from .addresses import address_of
from .letters import LOST, Letters

#: an order that is not settled yet, or whose sale one machine alone holds, is looked at again after this long
AGAIN_S = 3
#: a reminder of a booking that has lost its bay waits this long for another one
PLACE_S = 60
#: so long a guest who lost the bay is not told yet where the rule may find another one at any moment
RULE_S = 15
#: guests are asked to stay for so much longer
OFFERED_SLOTS = 2


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


told_by = msgspec.json.Decoder(Told).decode


class Standing:
    """What of a telling is still true when it is its turn."""

    def __init__(self, desk: Desk, houses: Houses):
        self._desk, self._houses = desk, houses

    def of(self, tx: Tx, told: Told, now: int, since: int) -> list[Booking] | Drop | Wait:
        """The bookings that this is still true of, when it is its turn. `since`: when it was caused, 0 for long ago."""
        bookings = [b for one in told.bookings if (b := records.booking(tx, one)) is not None]
        if told.event in notifications.TIMED:
            bookings = [_now(tx, b) for b in bookings]
        if told.event == "cancelled":
            kept_ = [b for b in bookings if b.status == "cancelled"]
        elif told.event == "declined":
            kept_ = [b for b in bookings if b.status in ("declined", "expired")]
        else:
            return self._valid(tx, told, bookings, now, since)
        return kept_ or Drop("no_longer", "It is not so any more.")

    def _valid(self, tx: Tx, told: Told, bookings: list[Booking], now: int, since: int) -> list[Booking] | Drop | Wait:
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
            if any(_asked_until(tx, b) > now for b in valid):
                return Wait(now + AGAIN_S, "Another place is being asked for.")
            if now - since < RULE_S and any(self._by_rule(tx, b) for b in valid):
                return Wait(now + 1, "Another place is about to be taken.")
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
        if told.event in notifications.OFFERS:
            valid = [b for b in valid if seen[b.id] == "checked_in" and self._may_stay(tx, b, seats[b.id] or b.resource_id)]
            return valid or Drop("not_free", "Its guest has gone or is not asked, or the time after it is not free.")
        if told.event in notifications.COURTESY:
            valid = [b for b in valid if seen[b.id] in ("checked_in", "completed")]
            return valid or Drop("no_visit", "Nobody is known to have come.")
        return valid

    def _may_stay(self, tx: Tx, b: Booking, seat: str) -> bool:
        """B21: whether this guest is asked to stay longer, and may: the house's share, nobody after them for half an hour, open, not too long."""
        house = self._houses.of(tx, b.site_id)
        policy, longer = house.profile.policy, Interval(b.start, b.end + OFFERED_SLOTS)
        if not overtime.is_offered(b.id, policy.overtime) or slots.minutes_of(longer) > policy.max_min or seat not in house.resources:
            return False
        taken = claims.holders(tx, seat, Interval(b.end, longer.end + b.buffer))
        return (
            all(ref == b.id for _, _, ref in taken)
            and rules.within_hours(house.resources[seat], longer, house.facility, policy.hours) is None
        )

    def _by_rule(self, tx: Tx, b: Booking) -> bool:
        """Whether there is a place that its facility lets be taken without asking anybody: then its guest is told that one."""
        house = self._houses.of(tx, b.site_id)
        return displaced.by_rule(house.profile.policy, b, displaced.ways_of(tx, self._desk, house, b)) is not None


def _asked_until(tx: Tx, b: Booking) -> int:
    """Until when an answer about another place can come (terr-9); 0 where none is awaited."""
    asked = [records.booking(tx, new_id) for kind in ("move", "moved") for new_id in records.asks_waiting(tx, kind, b.id)]
    return max((new.answer_by for new in asked if new is not None), default=0)


def _now(tx: Tx, b: Booking) -> Booking:
    """What stands in its place now, at the same time: whoever has another bay since is reminded of that one."""
    while b.status in ("cancelled", "cancelling") and b.replaced_by:
        after = records.booking(tx, b.replaced_by)
        if after is None or (after.site_id, after.start) != (b.site_id, b.start):
            break
        b = after
    return b


class Plans:
    """Does the rows of the kind `plan`: one becomes a row for each channel by which its customer is to hear of it."""

    def __init__(self, standing: Standing, letters: Letters, channels: Mapping[str, Channel]):
        self._standing, self._letters, self._channels = standing, letters, channels

    def judge(self, tx: Tx, row: Work, now: int) -> list[str] | Drop | Wait | Never:
        told = told_by(row.body.encode())
        bookings = self._standing.of(tx, told, now, row.created_at)
        if isinstance(bookings, Drop | Wait):
            return bookings
        customer = records.customer(tx, bookings[0].customer_id)
        if customer is None:
            return Drop("nobody", "Nobody is known to tell.")
        if told.event == "survey" and not self._letters.linked:
            return Drop("no_page", "This hub has no public address, so there is no page to answer on.")
        chosen = kept.preferences(tx, customer.id)
        names = notifications.channels(told.event, chosen, self._able(tx, customer, told.order_id))
        told = msgspec.structs.replace(told, bookings=tuple(b.id for b in bookings))
        for name in names:
            if name == "app":
                self._to_read(tx, row, told, bookings, customer, now)
                continue
            targets = [one for one, _ in kept.subscriptions(tx, told.order_id)] if name == "push" else [""]
            for target in targets:
                self._put(tx, row, msgspec.structs.replace(told, channel=name, target=target), now)
        if told.event in LOST and set(names) <= {"app"} and not {"sms", "mail"}.isdisjoint(self._channels):
            return Never(
                "not_told", "Nobody was told that the place was lost: no number or address of the guest works. Please call the guest."
            )
        return list(names) or Drop("no_channel", "There is no address, or the customer wants nothing by any channel.")

    def _able(self, tx: Tx, customer: Customer, order_id: str) -> tuple[ChannelName, ...]:
        there: list[ChannelName] = []
        for name in ("sms", "mail"):
            to = address_of(customer, name)
            if name in self._channels and to and kept.suppressed(tx, name, to) is None:
                there.append(name)
        if "push" in self._channels and kept.subscriptions(tx, order_id):
            there.append("push")
        return (*there, "app")

    def _to_read(self, tx: Tx, row: Work, told: Told, bookings: list[Booking], customer: Customer, now: int) -> None:
        letter = self._letters.letter(tx, told.event, told.order_id, bookings, customer, channel="app", to=customer.id, key=row.mark)
        kept.put_app_message(tx, row.id, customer.id, told.order_id, letter.subject, letter.text, letter.url, now)

    def _put(self, tx: Tx, row: Work, told: Told, now: int) -> None:
        work.put(
            tx,
            Work(
                id=f"{row.id}|{told.channel}" + (f"|{told.target}" if told.target else ""),
                kind="message",
                lane=self._channels[told.channel].vendor,
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

    def __init__(self, standing: Standing, letters: Letters, channels: Mapping[str, Channel], houses: Houses):
        self._standing, self._letters, self._channels, self._houses = standing, letters, channels, houses

    def judge(self, tx: Tx, row: Work, now: int) -> Letter | Drop | Wait:
        told = told_by(row.body.encode())
        bookings = self._standing.of(tx, told, now, 0)
        if isinstance(bookings, Drop | Wait):
            return bookings
        customer = records.customer(tx, bookings[0].customer_id)
        if customer is None:
            return Drop("nobody", "Nobody is known to tell.")
        chosen = kept.preferences(tx, customer.id)
        if told.channel in chosen.off:
            return Drop("off", "The customer wants nothing by this channel.")
        zone = self._houses.of(tx, bookings[0].site_id).facility.zone
        at = notifications.not_before(told.event, chosen, zone, now)
        if at > now:
            return Wait(at, "The customer's quiet hours.")
        to = kept.subscription(tx, told.target) if told.channel == "push" else address_of(customer, told.channel)
        if not to:
            return Drop("no_address", "There is no address any more.")
        if (why := kept.suppressed(tx, told.channel, to)) is not None:
            return Drop("suppressed", f"This address is not written to: {why.reason or why.why}")
        letter = self._letters.letter(tx, told.event, told.order_id, bookings, customer, channel=told.channel, to=to, key=row.mark)
        letter = msgspec.structs.replace(letter, expires_at=row.until_at)
        work.prepared(tx, row, now, msgspec.json.encode(msgspec.structs.replace(told, letter=letter)).decode())
        return letter

    async def do(self, row: Work, what: Letter) -> Outcome:
        channel = self._channel(row)
        return Misconfigured("No channel of this vendor is configured any more.") if channel is None else await channel.send(what)

    async def find(self, row: Work) -> Outcome | None:
        channel, letter = self._channel(row), told_by(row.body.encode()).letter
        if channel is None or letter is None:
            return Unknown("Nobody is configured who could tell.")
        if not channel.finds:
            return Unknown("Only the vendor's own report can tell whether it was sent.")
        return await channel.find(letter, row.since_at)

    def _channel(self, row: Work) -> Channel | None:
        return next((one for one in self._channels.values() if one.vendor == row.lane), None)

    def settled(self, tx: Tx, row: Work, outcome: Outcome) -> None:
        """An address that turned out to be dead, or to want nothing, is not written to again."""
        if not isinstance(outcome, Never) or not (outcome.dead_address or outcome.opted_out):
            return
        told = told_by(row.body.encode())
        if told.channel == "push":
            kept.unsubscribe(tx, told.target)
        elif told.letter is not None:
            why = "stop" if outcome.opted_out else "dead"
            kept.suppress(tx, told.channel, told.letter.to, why, outcome.reason, row.changed_at)
