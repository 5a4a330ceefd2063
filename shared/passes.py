"""The pass: signed facts of a booking, and the one answer to "may this pass enter?" (pass-1, pass-2, clock-1, D1, D2).

Not here: PINs (`pins`), door credentials (the Doors port), and who keeps the counter of sale numbers (the ledger).

Invariant: a door opens only for facts signed by a key this site believes, within the access window widened by the measured skew, for a
booking that the books do not contradict; of two passes for one slot the one with the higher sale number is seated.

The token is `CB1.` and base32 of `body + signature`. Base32, because its letters and digits are all in the QR code's alphanumeric set
(5.5 bits a character against 8 for base64), survive hand scanners that type on a foreign keyboard layout, and need no escaping in an
address; base45 would be 7 % shorter and has spaces and percent signs. The body is binary: ids use at most the 64 characters of base64url
and are packed four to three bytes, so that the longest lawful ids still stay under 300 characters.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable

from shared.errors import Refusal, Suggestion
from shared.keys import SIGNATURE_BYTES, KeyRing, SigningKey
from shared.model import FIRST_SLOT, ID_PATTERN, LAST_SLOT, RESOURCE_PATTERN, SITE_PATTERN, Attendance, Booking, Frozen, Side
from shared.slots import SLOT_S

DOMAIN = b"clubos.pass.v1\0"
PREFIX = "CB1."
#: the window is widened by no more than this, whatever difference of clocks was measured (clock-1): beyond it a clock is wrong, not skewed
SKEW_MAX_S = 300
#: a token has fewer characters than this
TOKEN_MAX = 300
SALE_NO_MAX = 2**40 - 1
BEFORE_MIN, AFTER_MIN = 15, 15
SHOWN_AFTER_MIN = 30
#: what a repair adds above the highest number that either side knew (pass-1)
REPAIR_LEAP = 1_000_000
_FIXED_BYTES = 24
_NONE: frozenset[str] = frozenset()

#: what stands between a token and an open door. `read` and `may_enter` take `without`, names out of this table, so that a test can show
#: what each guard holds off; nothing but tests passes it.
GUARDS: dict[str, str] = {
    "spelling": "one token has one spelling: other characters for the same bytes are refused",
    "key": "the key is known, not withdrawn, and may sign for this site",
    "signature": "the signature is of these very facts",
    "site": "a pass opens the doors of its own site only",
    "match": "a pass speaks for a known booking only if it names the same resource and interval",
    "status": "a known booking's status beats its pass",
    "line": "an unknown pass below the site's line is of a sale that the site would know",
    "displaced": "a displaced booking is told where to go instead of being let into a bay that is not free",
    "window": "doors open only from before the start to after the end, widened by the skew",
    "sale_number": "of two passes for one slot the higher sale number is seated",
    "attendance": "a booking checks in once",
}


class PassFacts(Frozen):
    """What a pass says. `start`, `end` in slots (the guest's time, without buffer); `issued_at` in unix seconds; `sale_no` as in pass-1."""

    site_id: str
    resource_id: str
    start: int
    end: int
    booking_id: str
    key_id: str
    sale_no: int
    issued_at: int


class Admit(Frozen):
    """Yes. `resource_id` is where the guest plays (the new seat of a reseated booking).

    `as_copy`: the booking was unknown, store `copy_of(facts)` and tell the hub. `again`: it is checked in already, open the door and record
    no second check-in. `unseats`: a booking with a lower sale number has the place; it is now the displaced one.
    """

    resource_id: str
    as_copy: bool = False
    again: bool = False
    unseats: bool = False


class _Arrival(Frozen):
    """Everything that the guards of `may_enter` look at."""

    facts: PassFacts
    copy: Booking | None
    attendance: Attendance | None
    site_line: int
    floor: int
    now_at: int
    skew_s: int
    seated_sale_no: int | None
    before_min: int
    after_min: int
    ways: tuple[Suggestion, ...]

    @property
    def attended(self) -> str:
        return self.attendance.state if self.attendance else ""

    @property
    def seat(self) -> str:
        """Where the site reseated it; empty if it plays where it was booked."""
        seat = self.attendance.seat if self.attendance else ""
        return "" if seat == self.facts.resource_id else seat


def facts_of(booking: Booking, key_id: str, issued_at: int) -> PassFacts:
    """The facts of a booking as a pass signed with `key_id` states them."""
    return PassFacts(
        site_id=booking.site_id,
        resource_id=booking.resource_id,
        start=booking.start,
        end=booking.end,
        booking_id=booking.id,
        key_id=key_id,
        sale_no=booking.sale_no,
        issued_at=issued_at,
    )


def copy_of(facts: PassFacts, seller: Side = "hub") -> Booking:
    """The booking that an admitted unknown pass puts in the books until the sale itself is heard.

    Version 0: any document of the owner's is newer. Its order is not in the pass and stands under the booking's own id until then.
    """
    return Booking(
        id=facts.booking_id,
        order_id=facts.booking_id,
        site_id=facts.site_id,
        resource_id=facts.resource_id,
        start=facts.start,
        end=facts.end,
        status="confirmed",
        seller=seller,
        sale_no=facts.sale_no,
        reason="seen_at_door",
        created_at=facts.issued_at,
        version=0,
    )


def write(facts: PassFacts, key: SigningKey) -> str:
    """The token of these facts, under 300 characters. ValueError if they are not lawful facts or name another key: a bug of the caller."""
    problem = _unlawful(facts)
    if problem:
        raise ValueError(problem)
    if facts.key_id != key.id:
        raise ValueError(f"The facts name the key {facts.key_id!r} and would be signed with {key.id!r}.")
    body = _pack(facts)
    return PREFIX + _spell(body + key.sign(DOMAIN, body))


def read(token: str, ring: KeyRing, site_id: str, *, without: frozenset[str] = _NONE) -> PassFacts | Refusal:
    """The facts that this site's ring vouches for, or why not (`pass_invalid`, `pass_other_site`). Any text is answered, none raises."""
    parsed = _parse(token, without)
    if isinstance(parsed, Refusal):
        return parsed
    facts, body, signature = parsed
    other_site = "site" not in without and facts.site_id != site_id
    problem = "" if "key" in without else ring.problem(facts.key_id, site_id=facts.site_id, until_at=facts.end * SLOT_S)
    if problem:
        # the most common honest mistake is the wrong facility, whose own key is unknown here: say that first. It opens nothing.
        return _OTHER_SITE if other_site and problem == "unknown" else _KEY_PROBLEMS[problem]
    if "signature" not in without and not ring.verifies(facts.key_id, DOMAIN, body, signature):
        return Refusal("pass_invalid", "This pass has been changed or damaged and is not valid.")
    return _OTHER_SITE if other_site else facts


def window(start: int, end: int, before_min: int = BEFORE_MIN, after_min: int = AFTER_MIN) -> tuple[int, int]:
    """`(opens_at, closes_at)` in unix seconds, closing excluded, of a booking of the slots `[start, end)` (D2)."""
    return start * SLOT_S - before_min * 60, end * SLOT_S + after_min * 60


def shown_until(end: int) -> int:
    """Unix seconds until which the QR image of a booking that ends at slot `end` is shown (D2)."""
    return end * SLOT_S + SHOWN_AFTER_MIN * 60


def may_enter(
    facts: PassFacts,
    copy: Booking | None,
    attendance: Attendance | None,
    site_line: int,
    now_at: int,
    skew_s: int = 0,
    seated_sale_no: int | None = None,
    *,
    floor: int = 0,
    before_min: int = BEFORE_MIN,
    after_min: int = AFTER_MIN,
    ways: tuple[Suggestion, ...] = (),
    without: frozenset[str] = _NONE,
) -> Admit | Refusal:
    """Whether the holder of these facts may enter now (pass-2 in full). `facts` come from `read`, or from `facts_of` for a PIN.

    `copy` and `attendance` are the site's documents of this booking, None if it has none. `site_line` is the resource's line at this site
    (slot); below `floor` its books may have forgotten sales, so that a pass is believed where nobody is known to be seated (loss-4).
    `seated_sale_no` is the highest sale number of any *other* live booking that the books have on this resource in any of these
    slots, not counting the displaced, nor an override that nobody checked in to (terr-5); None if there is none. `skew_s` widens the
    window at both ends, by `SKEW_MAX_S` at most (clock-1). `ways` are the ways out of a displaced booking and ride in its refusal.

    Codes: `pass_invalid`, `already_cancelled`, `declined`, `pass_not_seated`, `displaced`, `pass_early`, `pass_expired`,
    `already_checked_in`.
    """
    arrival = _Arrival(
        facts=facts,
        copy=copy,
        attendance=attendance,
        site_line=site_line,
        floor=floor,
        now_at=now_at,
        skew_s=min(abs(skew_s), SKEW_MAX_S),
        seated_sale_no=seated_sale_no,
        before_min=before_min,
        after_min=after_min,
        ways=ways,
    )
    for name, guard in _AT_THE_DOOR.items():
        refusal = None if name in without else guard(arrival)
        if refusal:
            return refusal
    return Admit(
        resource_id=arrival.seat or facts.resource_id,
        as_copy=copy is None,
        again=arrival.attended in ("checked_in", "completed") and "attendance" not in without,
        unseats=not arrival.seat and seated_sale_no is not None and seated_sale_no < facts.sale_no,
    )


def next_sale_no(counter: int) -> int:
    """The number of the next sale: greater than every number issued or heard (pass-1). Keep it as the new counter."""
    return counter + 1


def heard(counter: int, sale_no: int) -> int:
    """The counter after a sale of the peer's was applied."""
    return max(counter, sale_no)


def after_repair(*numbers: int) -> int:
    """The counter that both sides take after a repair: the highest merged number plus 1,000,000."""
    return max(numbers, default=0) + REPAIR_LEAP


# --- the guards at the door, in the order in which a guest is told ------------------------------------------------------------------


def _match(a: _Arrival) -> Refusal | None:
    # a booking's resource and interval never change (own-1): what differs is not this booking's pass
    if a.copy is None:
        return None
    stated = (a.facts.booking_id, a.facts.resource_id, a.facts.start, a.facts.end)
    if stated == (a.copy.id, a.copy.resource_id, a.copy.start, a.copy.end):
        return None
    return Refusal("pass_invalid", "This pass does not match the booking that it names.")


def _status(a: _Arrival) -> Refusal | None:
    if a.copy is None:
        return None
    status = a.copy.status
    if status == "confirmed" and not a.copy.withdrawn:
        return None
    if status == "cancelling" and a.attended == "checked_in":
        # the cancel crossed the check-in and will be refused (own-3): the guest is inside
        return None
    if status in ("confirmed", "cancelling", "cancelled"):
        return Refusal("already_cancelled", "This booking has been cancelled, so its pass no longer opens the door.")
    if status == "declined":
        return Refusal("declined", "This booking could not be confirmed, so its pass does not open the door.")
    if status == "expired":
        return Refusal("pass_expired", "This booking has expired.")
    return Refusal("pass_not_seated", "This booking is not confirmed yet, so its pass does not open the door.")


def _line(a: _Arrival) -> Refusal | None:
    if a.copy is not None or a.facts.start >= a.site_line:
        return None
    if a.facts.start < a.floor and a.seated_sale_no is None:
        return None
    return Refusal("pass_not_seated", "This facility has no booking for this pass.")


def _displaced(a: _Arrival) -> Refusal | None:
    if a.copy is None or not a.copy.displaced or a.seat:
        return None
    if a.ways:
        sentence = "The place that you booked is not available. You can have one of the places shown instead."
    else:
        sentence = "The place that you booked is not available. Please call the support number shown; they will find you another."
    return Refusal("displaced", sentence, suggestions=a.ways)


def _window(a: _Arrival) -> Refusal | None:
    opens_at, closes_at = window(a.facts.start, a.facts.end, a.before_min, a.after_min)
    if a.now_at < opens_at - a.skew_s:
        sentence = f"It is too early: this pass opens the door from {a.before_min} minutes before the start."
        return Refusal("pass_early", sentence, retry_after_s=opens_at - a.skew_s - a.now_at)
    if a.now_at >= closes_at + a.skew_s:
        return Refusal("pass_expired", "This pass has expired: its booking is over.")
    return None


def _sale_number(a: _Arrival) -> Refusal | None:
    # a booking reseated elsewhere no longer contests its first bay
    if a.seated_sale_no is None or a.seat or a.seated_sale_no < a.facts.sale_no:
        return None
    if a.seated_sale_no == a.facts.sale_no and a.attended in ("checked_in", "completed"):
        return None  # the number seated is this booking's own
    return Refusal("pass_not_seated", "A later booking has this place. Please call the support number shown.")


def _attendance(a: _Arrival) -> Refusal | None:
    if a.attended not in ("checked_in", "completed") or a.copy is None or a.copy.sale_no == a.facts.sale_no:
        return None  # not in yet, or the same pass again: whoever went out to the car gets back in
    return Refusal("already_checked_in", "This booking is already checked in with another pass.")


_AT_THE_DOOR: dict[str, Callable[[_Arrival], Refusal | None]] = {
    "match": _match,
    "status": _status,
    "line": _line,
    "displaced": _displaced,
    "window": _window,
    "sale_number": _sale_number,
    "attendance": _attendance,
}

_OTHER_SITE = Refusal("pass_other_site", "This pass is for another facility.")
_NOT_A_PASS = Refusal("pass_invalid", "This code is not one of our passes.")
_DAMAGED = Refusal("pass_invalid", "This pass is incomplete or damaged and cannot be read.")
_KEY_PROBLEMS = {
    "unknown": Refusal("pass_invalid", "This pass was signed by somebody whom this facility does not know."),
    "withdrawn": Refusal("pass_invalid", "This pass was signed with a key that is no longer accepted. Open your booking for a new one."),
    "other_site": Refusal("pass_invalid", "This pass was signed by a facility that may not issue passes for this one."),
}


# --- the token ---------------------------------------------------------------------------------------------------------------------


def _parse(token: str, without: frozenset[str]) -> tuple[PassFacts, bytes, bytes] | Refusal:
    if not isinstance(token, str) or not token.startswith(PREFIX):
        return _NOT_A_PASS
    if len(token) >= TOKEN_MAX:
        return Refusal("pass_invalid", "This code is too long to be one of our passes.")
    text = token[len(PREFIX) :]
    try:
        blob = base64.b32decode(text + "=" * (-len(text) % 8), casefold="spelling" in without)
    except (binascii.Error, ValueError):
        return _DAMAGED
    # the last character carries spare bits: without this, several spellings would be the same pass
    if "spelling" not in without and _spell(blob) != text:
        return _DAMAGED
    body, signature = blob[:-SIGNATURE_BYTES], blob[-SIGNATURE_BYTES:]
    facts = _unpack(body)
    return _DAMAGED if facts is None else (facts, body, signature)


def _spell(blob: bytes) -> str:
    return base64.b32encode(blob).rstrip(b"=").decode()


def _unlawful(facts: PassFacts) -> str:
    """What makes these facts no facts of a pass, as a sentence; empty if nothing does."""
    if not re.fullmatch(SITE_PATTERN, facts.site_id):
        return f"{facts.site_id!r} is not a site id."
    if not re.fullmatch(RESOURCE_PATTERN, facts.resource_id) or not facts.resource_id.startswith(facts.site_id + "."):
        return f"{facts.resource_id!r} is not a resource of {facts.site_id!r}."
    if not re.fullmatch(ID_PATTERN, facts.booking_id):
        return f"{facts.booking_id!r} is not a booking id."
    if not FIRST_SLOT <= facts.start < facts.end <= LAST_SLOT or facts.end - facts.start > 0xFFFF:
        return f"[{facts.start}, {facts.end}) is not an interval of slots."
    if not 0 <= facts.sale_no <= SALE_NO_MAX:
        return f"{facts.sale_no} is not a sale number."
    if not 0 <= facts.issued_at <= LAST_SLOT * SLOT_S:
        return f"{facts.issued_at} is not a time in unix seconds."
    if not re.fullmatch(r"[0-9a-f]{16}", facts.key_id):
        return f"{facts.key_id!r} is not a key id."
    return ""


def _pack(facts: PassFacts) -> bytes:
    """2 bytes of lengths, 3 start, 2 slots, 5 sale number, 4 issued, 8 key, then the three ids as base64url without their separators."""
    name = facts.resource_id[len(facts.site_id) + 1 :]
    ids = facts.site_id + name + facts.booking_id
    lengths = (len(facts.site_id) - 1) << 11 | (len(name) - 1) << 6 | (len(facts.booking_id) - 1)
    return b"".join(
        (
            lengths.to_bytes(2, "big"),
            facts.start.to_bytes(3, "big"),
            (facts.end - facts.start).to_bytes(2, "big"),
            facts.sale_no.to_bytes(5, "big"),
            facts.issued_at.to_bytes(4, "big"),
            bytes.fromhex(facts.key_id),
            base64.urlsafe_b64decode(ids + "A" * (-len(ids) % 4)),
        )
    )


def _unpack(body: bytes) -> PassFacts | None:
    """The facts in a body, None if it is not exactly what `_pack` makes of lawful facts."""
    if len(body) <= _FIXED_BYTES:
        return None
    lengths = int.from_bytes(body[:2], "big")
    site_end = (lengths >> 11) + 1
    name_end = site_end + (lengths >> 6 & 0x1F) + 1
    ids = base64.urlsafe_b64encode(body[_FIXED_BYTES:]).decode()
    start = int.from_bytes(body[2:5], "big")
    facts = PassFacts(
        site_id=ids[:site_end],
        resource_id=f"{ids[:site_end]}.{ids[site_end:name_end]}",
        start=start,
        end=start + int.from_bytes(body[5:7], "big"),
        booking_id=ids[name_end : name_end + (lengths & 0x3F) + 1],
        key_id=body[16:24].hex(),
        sale_no=int.from_bytes(body[7:12], "big"),
        issued_at=int.from_bytes(body[12:16], "big"),
    )
    return facts if not _unlawful(facts) and _pack(facts) == body else None
