"""The judges of `conditions`: what of one look at the hub is amiss, and in which words.

Times are unix seconds. Of a guest only the name as shown is said, and nothing that a vendor says of an address. Invariant: a judge reads the look and
nothing else, so that the same look always says the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import msgspec

from shared import slots
from shared.ledger import records
from shared.model import Attendance, Booking

from .attempts import Tried

if TYPE_CHECKING:
    from .conditions import Look

#: a link that breaks for less is nobody's news
DARK_S = 120
#: a guest without a bay is urgent so long before the start, once the rule has had its turn
NEAR_S, TURN_S = 2 * 3600, 60
#: so many refused within the window are no mistake
SIGN_INS_MAX, FORGED_MAX, WINDOW_S = 10, 5, 600
#: a sale is on one machine for a moment in any case
LOSS_S = 60
WHY_MAX, NAME_MAX = 240, 60
#: where it is mended
STUCK_PAGE, WORK_PAGE, CONFLICTS_PAGE, STATE_PAGE = "/manage/work?state=stuck", "/manage/work", "/manage/displaced", "/health/ready"
_ADDRESSES = re.compile(r"[^\s<>\"'@]+@[^\s<>\"'@]+|\+?\d[\d\s().-]{5,}\d", re.ASCII)


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """Something that a person should know of, or see to, from its beginning to its end.

    `id` is its kind and what it is of, and the same for as long as it goes on. `text` reads on with "since 14:02"; `over` and `was` with "after
    3 min" and "for 3 min": `over` for whoever knows that it began, `was` for whoever does not. `why` is further sentences. `since_at` 0: since it
    was first seen. `zone` is the facility's, empty for the hub's own. `path` below the hub's address is where it is mended. `ref`: the booking.
    """

    id: str
    text: str
    over: str
    was: str
    site_id: str = ""
    zone: str = ""
    why: str = ""
    since_at: int = 0
    urgent: bool = False
    path: str = STATE_PAGE
    ref: str = ""

    @property
    def kind(self) -> str:
        return self.id.partition("|")[0]


class Undecided(msgspec.Struct, frozen=True):
    """Nobody can tell just now whether this condition, or any of this kind, goes on."""

    id: str


#: what a site's alarm is, by the first word of its kind: as it stands, when it is over, and for whoever never heard of it
_SITE_ALARM = ("{} needs somebody", "{} needs nobody any more", "{} needed somebody")
_SITE_ALARMS = {
    "emergency": ("{} is in an emergency", "The emergency at {} is over", "{} was in an emergency"),
    "door": ("An alert of a door at {} waits for somebody", "The alert of a door at {} was answered", "An alert of a door at {} waited for somebody"),
}

Judge = Callable[["Look"], Iterator[Condition | Undecided]]


def fault(kind: str, error: Exception) -> Condition:
    return Condition(
        id=f"fault|{kind}", text=f"What the hub should tell of {kind.replace('_', ' ')!r} cannot be judged",
        over=f"What the hub should tell of {kind.replace('_', ' ')!r} is judged again",
        was=f"What the hub should tell of {kind.replace('_', ' ')!r} could not be judged",
        why=f"That is a fault in the program ({type(error).__name__}); the log says more.",
    )  # fmt: skip


# ---- this machine
def clock(look: Look) -> Iterator[Condition]:
    if look.doubt:
        yield Condition(
            id="clock", text="Nothing can be sold", over="The hub's clock is trusted again", urgent=True,
            was="The hub's clock was in doubt, and nothing could be sold", why=f"{look.doubt} `cloud-hub clock confirm` confirms the time.",
        )  # fmt: skip


def backups(look: Look) -> Iterator[Condition]:
    if look.backups.degraded:
        failing = look.backups.status == "failing"
        yield Condition(
            id="backups", text=f"The hub's backups are {'failing' if failing else 'late'}", over="The hub's backups are good again",
            was="The hub's backups were late or failing", why=one_line(" ".join(look.backups.told)),
        )  # fmt: skip


def disk(look: Look) -> Iterator[Condition]:
    if look.disk.low:
        free = f"{look.disk.free_octets // 1_000_000} MB are free."
        yield Condition(
            id="disk", text="The room for the hub's books is nearly used up", over="There is room for the hub's books again", urgent=True,
            was="The room for the hub's books was nearly used up", why=free,
        )  # fmt: skip


def mark(look: Look) -> Iterator[Condition]:
    if look.mark_said:
        yield Condition(
            id="mark", text="The mark on the other medium does not protect the hub's books", over="The mark protects the hub's books again",
            was="The mark did not protect the hub's books", why=one_line(look.mark_said),
        )  # fmt: skip


# ---- facilities
def dark(look: Look) -> Iterator[Condition | Undecided]:
    """Also of a hub that has just been started: what it has not heard yet may be about to speak."""
    began_at = look.of.began_at
    for s in look.states:
        name, zone = look.facilities[s.site_id]
        if look.of.links.up(s.site_id):  # also one whose messages are not taken in
            continue
        if look.now - max(s.since_at, began_at) < DARK_S:
            yield Undecided(f"dark|{s.site_id}")
            continue
        yield Condition(
            id=f"dark|{s.site_id}", site_id=s.site_id, zone=zone, text=f"{name} has not been heard", over=f"{name} is heard again",
            was=f"{name} was not heard", since_at=s.since_at or began_at, urgent=True,
        )  # fmt: skip


def stopped(look: Look) -> Iterator[Condition]:
    for s in look.states:
        if s.link == "stopped":
            name, zone = look.facilities[s.site_id]
            yield Condition(
                id=f"stopped|{s.site_id}", site_id=s.site_id, zone=zone, text=f"What {name} says is not taken in", urgent=True,
                over=f"What {name} says is taken in again", was=f"What {name} said was not taken in", why=one_line(s.stopped_why),
            )  # fmt: skip


def fence(look: Look) -> Iterator[Condition]:
    states = {
        "fenced": ("The hub sells nothing for {}", "its books here may lack sales"),
        "repairing": ("The hub sells nothing for {}", "its books here and there are being brought together"),
        "retired": ("The hub no longer speaks for {}", "another hub stands in its place"),
    }
    for s in look.states:
        if s.recovery in states:
            (name, zone), (text, why) = look.facilities[s.site_id], states[s.recovery]
            yield Condition(
                id=f"fence|{s.site_id}", site_id=s.site_id, zone=zone, text=f"{text.format(name)}, because {why},", urgent=True,
                over=f"The hub sells for {name} again", was=f"The hub sold nothing for {name}", why=one_line(s.fenced_why),
            )  # fmt: skip


def unvouched(look: Look) -> Iterator[Condition]:
    for s in look.states:
        if s.unvouched:
            name, zone = look.facilities[s.site_id]
            yield Condition(
                id=f"unvouched|{s.site_id}", site_id=s.site_id, zone=zone, urgent=True,
                text=f"The repair of {name}'s books waits for a person's word that the hub before this one is off",
                over=f"The repair of {name}'s books goes on", was=f"The repair of {name}'s books waited for a person's word",
            )  # fmt: skip


def halt(look: Look) -> Iterator[Condition]:
    for s in look.states:
        name, zone = look.facilities[s.site_id]
        for one in s.halted:
            what = f"{look.called(one.resource_id)} at {name}" if one.resource_id else name
            yield Condition(
                id=f"halt|{one.resource_id or s.site_id}", site_id=s.site_id, zone=zone, text=f"Sales of {what} are stopped", since_at=one.at,
                over=f"Sales of {what} go on", was=f"Sales of {what} were stopped", urgent=True,
                why=f"{one_line(one.why)} A person must look, and `cloud-hub halt` lets them go on.",
            )  # fmt: skip


def books(look: Look) -> Iterator[Condition]:
    for s in look.states:
        if s.doubtful:
            name, zone = look.facilities[s.site_id]
            yield Condition(
                id=f"books|{s.site_id}", site_id=s.site_id, zone=zone, text=f"{name}'s books and the hub's differ on {_n(len(s.doubtful), 'booking')}",
                over=f"{name}'s books and the hub's agree again", was=f"{name}'s books and the hub's differed", why="A person must settle it.",
            )  # fmt: skip


def skew(look: Look) -> Iterator[Condition]:
    for s in look.states:
        if s.skew_shown:
            name, zone = look.facilities[s.site_id]
            yield Condition(
                id=f"skew|{s.site_id}", site_id=s.site_id, zone=zone, text=f"{name}'s clock and the hub's differ by {abs(s.skew_s):.0f} s",
                over=f"{name}'s clock and the hub's agree again", was=f"{name}'s clock and the hub's differed",
            )  # fmt: skip


def loss(look: Look) -> Iterator[Condition]:
    for s in look.states:
        found = look.second.possible_loss.get(s.site_id)
        if found is not None and found.sales and look.now - found.since_at >= LOSS_S:
            name, zone = look.facilities[s.site_id]
            yield Condition(
                id=f"loss|{s.site_id}", site_id=s.site_id, zone=zone, since_at=found.since_at,
                text=f"{_n(found.sales, 'sale')} of {name} would be lost with this machine,", was=f"Sales of {name} were on the hub's machine alone",
                over=f"No sale of {name} is on the hub's machine alone any more,", why=one_line(look.second.trouble),
            )  # fmt: skip


def conflicts(look: Look) -> Iterator[Condition]:
    for one, called in look.displaced:
        b, (name, zone) = one.booking, look.facilities[one.booking.site_id]
        guest = f"{one_line(b.shown_name, NAME_MAX) or 'A guest'} (order {records.reference_of(b.order_id)})"
        time = f"{slots.when(zone, b.start)} to {slots.label(zone, b.end)}" if zone else "a time in a zone that is not known"
        # typed by people, so it is said after what we say ourselves
        taken = f"{called} was booked there{f': {one_line(one.reason)}' if one.reason else ''}."
        asked = " Another place is being asked for." if one.asked is not None else ""
        urgent = b.starts_at - look.now <= NEAR_S and look.now - one.since_at >= TURN_S
        yield Condition(
            id=f"conflict|{b.id}", site_id=b.site_id, zone=zone, ref=b.id, since_at=one.since_at, urgent=urgent, path=CONFLICTS_PAGE,
            text=f"{guest} has no bay at {name} for {time}", why=taken + asked,
            over=f"{guest} needs no other bay at {name} any more,", was=f"{guest} had no bay at {name} for {time},",
        )  # fmt: skip


def is_open(b: Booking, a: Attendance | None) -> bool:
    """Whether this guest of the conflict queue still has no place."""
    seen = a is not None and (a.state or a.seat)
    return b.displaced and b.status == "confirmed" and not b.withdrawn and not seen


# ---- vendors, and what is tried at our doors
def stuck(look: Look) -> Iterator[Condition]:
    for lane in look.of.work.stuck():
        name = vendor(lane.name)
        yield Condition(
            id=f"stuck|{lane.name}", text=f"{_n(lane.rows, 'thing')} for {name} {'is' if lane.rows == 1 else 'are'} stuck", path=STUCK_PAGE, urgent=True,
            over=f"Nothing for {name} is stuck any more,", was=f"Something for {name} was stuck", since_at=lane.since_at,
            why=f"{'' if lane.rows == 1 else 'The first: '}{one_line(without_addresses(lane.reason))}",
        )  # fmt: skip


def away(look: Look) -> Iterator[Condition]:
    for one in look.of.work.away():
        name = vendor(one.lane)
        yield Condition(
            id=f"away|{one.lane}", text=f"{name} has done nothing that it was asked", over=f"{name} does what it is asked again", path=WORK_PAGE,
            was=f"{name} did nothing that it was asked", since_at=int(one.away_since),
            why=f"What it should do waits. {one_line(without_addresses(one.why))}".strip(),
        )  # fmt: skip


def sign_ins(look: Look) -> Iterator[Condition]:
    n = _within(look, "sign_in")
    if n >= SIGN_INS_MAX:
        yield Condition(
            id="sign_in", text="Sign-ins and calls with wrong keys are being refused", over="Sign-ins and calls with wrong keys have ceased",
            was="Sign-ins and calls with wrong keys were refused", why=f"{n} within {WINDOW_S // 60} minutes.",
        )  # fmt: skip


def forged_calls(look: Look) -> Iterator[Condition]:
    n = _within(look, "forged_call")
    if n >= FORGED_MAX:
        yield Condition(
            id="forged_call", text="Calls that pose as a vendor's are being refused", over="Calls that pose as a vendor's have ceased", urgent=True,
            was="Calls that posed as a vendor's were refused", why=f"{n} within {WINDOW_S // 60} minutes.",
        )  # fmt: skip


def site_alarms(look: Look) -> Iterator[Condition]:
    """What people at a facility must see to, in the site's own words (D5, D6)."""
    for s in look.states:
        name, zone = look.facilities[s.site_id]
        for one in look.alarms(s.site_id):
            text, over, was = _SITE_ALARMS.get(one.kind.partition("_")[0], _SITE_ALARM)
            yield Condition(
                id=f"site_alarm|{s.site_id}|{one.id}", site_id=s.site_id, zone=zone, since_at=one.since_at, urgent=one.urgent,
                text=text.format(name), over=over.format(name), was=was.format(name), why=one_line(one.text),
            )  # fmt: skip


def outage_pins(look: Look) -> Iterator[Condition]:
    for s in look.states:
        n = look.of.outage_pins.unexplained(s.site_id)
        if n:
            name, zone = look.facilities[s.site_id]
            yield Condition(
                id=f"outage_pin|{s.site_id}", site_id=s.site_id, zone=zone, urgent=True, why="`cloud-hub outage-pins` voids the stock.",
                text=f"{_n(n, 'outage PIN')} opened a door at {name} without a known booking,", was=f"Outage PINs were used at {name} without a booking",
                over=f"No outage PIN was used at {name} without a known booking in the last two days,",
            )  # fmt: skip


def _within(look: Look, tried: Tried) -> int:
    return look.of.attempts.counted(tried, look.now - WINDOW_S, look.now + 1)


# ---- words
def vendor(lane: str) -> str:
    """A lane as people call who works in it."""
    return {
        "plan": "the hub itself",
        "twilio": "Twilio",
        "sendgrid": "SendGrid",
        "smtp": "the mail server",
        "web_push": "web push",
        "slack": "Slack",
    }.get(lane, lane)


def one_line(text: str, most: int = WHY_MAX) -> str:
    """What others wrote: on one line, so that it cannot pose as one of ours, and no longer than `most`."""
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"


def without_addresses(text: str) -> str:
    """A vendor's words without the numbers and mail addresses of customers that it repeats."""
    return _ADDRESSES.sub("…", text)


def _n(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"
