"""The site's JSON API under /api: the day, prices, holds, bookings, check-in, blocks, doors, conflicts, the link.

For staff (session cookie and CSRF header) and paired kiosks (Bearer token); each route's guard names who. Handlers decode, ask one
service, and answer; nothing is decided here.
"""

from datetime import date
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, Router, delete, get, post
from litestar.params import FromPath, JSONBody, QueryParameter

from shared.model import Block, Price
from shared.runtime.openapi import raises
from shared.runtime.problems import bad_request
from site_agent.services.alarms import Alarm, of_books
from site_agent.services.backups import BackupPanel
from site_agent.services.booking import OVERRIDE_WARNING, Ask, DayGrid, Outcome
from site_agent.services.checkin import CheckedIn
from site_agent.services.clock import ClockState, MarkState
from site_agent.services.credentials import Stuck
from site_agent.services.displaced import Conflict
from site_agent.services.door_trail import AlertView, TrailPage
from site_agent.services.doors import Panel
from site_agent.services.halts import HaltView, Lifted
from site_agent.services.link import LinkState
from site_agent.services.notices import NoticeView
from site_agent.services.outage import Drill
from site_agent.services.outage_pins import SparePins
from site_agent.services.recovery import RecoveryPanel
from site_agent.services.views import BlockView, BookingView, HoldView, iso
from site_agent.store.board import Board, Figures
from site_agent.web import bodies, machines
from site_agent.web.auth import asker_of, client_ip, give_kiosk, give_session, kit_of, needs, take_session
from site_agent.web.problems import SuggestionShown, suggested
from site_agent.web.scan import scan

ANY = ("view", "kiosk")
STAFF_SCHEME, KIOSK_SCHEME = [{"staff": []}], [{"staff": []}, {"kiosk": []}]
_TIMES = ("bad_interval", "resource_not_found")
_STOPPED = ("fenced", "retired", "below_floor", "bay_halted", "clock_untrusted")
_SALE = (*_TIMES, "slot_taken", "id_reused", "hub_unreachable", "declined", "rules_violated", "outside_hours", *_STOPPED, "customer_blocked", "not_allowed")
_DOOR = ("already_cancelled", "illegal_move", "displaced")
DayQuery = Annotated[date, QueryParameter(name="date", description="A day by the facility's calendar, YYYY-MM-DD.")]


class PriceAnswer(msgspec.Struct, frozen=True):
    """A price with the promise to keep it until `valid_until`; `violations` say what speaks against booking it now, `suggestions` then what does
    not."""

    price: Price
    quote: str
    valid_until: str
    violations: list[dict[str, str]]
    suggestions: list[SuggestionShown]


class SignedIn(msgspec.Struct, frozen=True):
    """`csrf_token` goes into the header `X-CSRF-Token` of every change."""

    user: str
    name: str
    role: str
    rights: list[str]
    csrf_token: str


class Paired(msgspec.Struct, frozen=True):
    """The kiosk's token, told this once; the same is set as a cookie."""

    kiosk: str
    name: str
    token: str


class Unlocked(msgspec.Struct, frozen=True):
    """The controller took the command; it does not say that a person opened the door."""

    door_id: str
    at: str
    confirmed_by: str


class KioskShown(msgspec.Struct, frozen=True):
    id: str
    name: str
    paired_at: str
    revoked: bool


class NewPairing(msgspec.Struct, frozen=True):
    """`path` is to be opened on the new screen before `ends_at`."""

    code: str
    path: str
    ends_at: str


class FacilityAnswer(msgspec.Struct, frozen=True):
    """The facility, its bays, and the warning that goes before an override."""

    id: str
    name: str
    zone: str
    currency: str
    word: str
    support_phone: str
    support_hours: str
    resources: list[dict[str, Any]]
    override_warning: str


class TrailCheck(msgspec.Struct, frozen=True):
    """`problems` are sentences; none where the trail is sound."""

    sound: bool
    problems: list[str]


class Panels(msgspec.Struct, frozen=True):
    """Everything beside the grid of the staff page; `alarms` need a person now."""

    alarms: list[Alarm]
    link: LinkState
    doors: Panel
    figures: Figures
    conflicts: list[Conflict]
    credentials: list[Stuck]
    halts: list[HaltView]
    drill: Drill | None
    spare_pins: SparePins
    backups: BackupPanel
    clock: ClockState
    mark: MarkState
    recovery: RecoveryPanel
    notices: list[NoticeView]


def _ask(body: bodies.TimeBody, **more: Any) -> Ask:
    interval = bodies.interval(body)
    names = ("name", "phone", "email", "customer_id", "guests", "code", "quote", "hold_id", "notes", "override_reason")
    said = {name: getattr(body, name) for name in names if hasattr(body, name)}
    return Ask(**{"booking_id": getattr(body, "booking_id", ""), **said, **more}, resource_id=body.resource_id, start=interval.start, end=interval.end)


def _outcome(outcome: Outcome, *, made: bool) -> Response[Outcome]:
    """201 for what was made, 200 for what was changed, 202 while the other side is asked."""
    if outcome.state == "asked":
        headers = {"retry-after": "2", "location": f"/api/bookings/{outcome.booking.id}"}
        return Response(outcome, status_code=202, headers=headers)
    return Response(outcome, status_code=201 if made else 200)


# ---- who
@post("/sign-in", status_code=200, tags=["People"], opt=raises("wrong_credentials", "too_many_tries"))
async def sign_in(request: Request, data: JSONBody[bodies.SignInBody]) -> SignedIn:
    """Sign in as staff; the answer sets the session's cookie."""
    kit = kit_of(request)
    cookie, asker = await kit.people.sign_in(data.user, data.password, client_ip(request))
    give_session(request, cookie)
    return SignedIn(asker.id.removeprefix("staff-"), asker.name, asker.role, sorted(asker.rights), kit.csrf.token_for(cookie))


@post("/sign-out", status_code=204, tags=["People"], guards=[needs("view", "unlock")], security=STAFF_SCHEME)
async def sign_out(request: Request) -> None:
    """End the session."""
    await kit_of(request).people.sign_out(take_session(request))


@get("/me", tags=["People"], guards=[needs(*ANY, "unlock")], security=KIOSK_SCHEME, sync_to_thread=False)
def me(request: Request) -> SignedIn:
    """Who the request is taken for, what they may do, and the CSRF token of the session."""
    asker = asker_of(request)
    return SignedIn(asker.id, asker.name, asker.role, sorted(asker.rights), kit_of(request).csrf.token(request.scope))


@post("/kiosks/pair", status_code=201, tags=["People"], opt=raises("not_found"))
async def pair(request: Request, data: JSONBody[bodies.PairBody]) -> Paired:
    """Use a pairing code up: the token of a new kiosk."""
    token, asker = await kit_of(request).people.pair(data.code, client_ip(request))
    give_kiosk(request, token)
    return Paired(asker.id, asker.name, token)


@get("/kiosks", tags=["People"], guards=[needs("screens")], security=STAFF_SCHEME, sync_to_thread=False)
def list_kiosks(request: Request) -> list[KioskShown]:
    """The paired screens."""
    return [KioskShown(row.id, row.name, iso(row.paired_at), row.revoked) for row in kit_of(request).people.kiosks()]


@post("/kiosks", status_code=201, tags=["People"], guards=[needs("screens")], security=STAFF_SCHEME)
async def new_kiosk(request: Request, data: JSONBody[bodies.NewKioskBody]) -> NewPairing:
    """A code that pairs one more screen."""
    code, ends_at = await kit_of(request).people.new_pairing(data.name, asker_of(request))
    return NewPairing(code, f"/kiosk/pair?code={code}", iso(ends_at))


@delete("/kiosks/{kiosk_id:str}", tags=["People"], guards=[needs("screens")], security=STAFF_SCHEME, opt=raises("not_found"))
async def remove_kiosk(request: Request, kiosk_id: FromPath[str]) -> None:
    """Take a pairing back."""
    await kit_of(request).people.remove_kiosk(kiosk_id, asker_of(request))


# ---- the day
@get("/facility", tags=["Day"], guards=[needs(*ANY)], security=KIOSK_SCHEME, sync_to_thread=False)
def facility(request: Request) -> FacilityAnswer:
    """The facility and its bays."""
    house = kit_of(request).bookings.house()
    told = house.facility
    bays = [
        {"id": r.id, "name": r.name, "kind": r.kind, "number": r.number, "make": r.make, "features": list(r.features), "capacity": r.capacity,
         "active": r.active}
        for r in house.resources.values()
    ]  # fmt: skip
    return FacilityAnswer(
        told.id, told.name, told.zone, told.currency, told.word, told.support_phone, told.support_hours, bays, OVERRIDE_WARNING
    )


@get("/availability", tags=["Day"], guards=[needs(*ANY)], security=KIOSK_SCHEME, sync_to_thread=False, media_type="application/json")
def availability(request: Request, on: DayQuery) -> Response[DayGrid]:
    """What is free on a day, `as_of` when, and how it is sold: `instant` or `ask_site` (asked of the booking centre). Has an ETag."""
    kept = kit_of(request).bookings.availability(bodies.day(on))
    headers = {"etag": kept.etag, "cache-control": "no-cache"}
    if kept.etag in request.headers.get("if-none-match", ""):
        return Response(b"", status_code=304, headers=headers)
    return Response(kept.body, headers=headers, media_type="application/json")


@get("/board", tags=["Day"], guards=[needs("view")], security=STAFF_SCHEME, sync_to_thread=False)
def day_board(request: Request, on: DayQuery) -> Board:
    """The day with everything on it, for staff; `/staff/events` goes on from its `version`."""
    return kit_of(request).live.board(bodies.day(on))


@get("/panels", tags=["Day"], guards=[needs("view")], security=STAFF_SCHEME, sync_to_thread=False)
def panels(request: Request, on: DayQuery) -> Panels:
    """Link, doors, the day's figures, conflicts, stuck door credentials and stopped bays."""
    kit = kit_of(request)
    return Panels(
        [*of_books(kit.db), *kit.recovery.alarms(), *kit.halts.alarms()], kit.link.state(), kit.doors.panel(),
        kit.live.figures(bodies.day(on)), kit.displaced.conflicts(asker_of(request)),
        kit.credentials.stuck(), kit.halts.list(), kit.outage.current(), kit.outage_pins.state(), kit.backups.panel(), kit.time.state(), kit.mark.state(),
        kit.recovery.panel(), kit.notices.open(),
    )  # fmt: skip


@get("/link", tags=["Day"], guards=[needs(*ANY)], security=KIOSK_SCHEME, sync_to_thread=False)
def link_state(request: Request) -> LinkState:
    """Whether the booking centre is heard, since when, and what waits to be told to it."""
    return kit_of(request).link.state()


# ---- price and hold
@post("/quotes", status_code=200, tags=["Bookings"], guards=[needs("book", "kiosk")], security=KIOSK_SCHEME, opt=raises(*_TIMES))
async def quote(request: Request, data: JSONBody[bodies.QuoteBody]) -> PriceAnswer:
    """The price, kept for 15 minutes by either side."""
    found = kit_of(request).bookings.quote(_ask(data), asker_of(request))
    violations = [{"rule": one.rule, "code": one.code, "detail": one.detail} for one in found.violations]
    return PriceAnswer(found.price, found.tokens[0] if found.tokens else "", iso(found.valid_until), violations, [suggested(way) for way in found.suggestions])


@post(
    "/holds", status_code=201, tags=["Bookings"], guards=[needs("book", "kiosk")], security=KIOSK_SCHEME,
    opt=raises(*_TIMES, "slot_taken", "id_reused", "hub_unreachable", *_STOPPED),
)  # fmt: skip
async def hold(request: Request, data: JSONBody[bodies.HoldBody]) -> HoldView:
    """Keep a time for ten minutes while the guest decides."""
    return await kit_of(request).bookings.hold(data.hold_id, data.resource_id, bodies.interval(data))


@post(
    "/holds/{hold_id:str}/extend", status_code=200, tags=["Bookings"], guards=[needs("book", "kiosk")], security=KIOSK_SCHEME,
    opt=raises("hold_not_found", "hold_ended"),
)  # fmt: skip
async def prolong(request: Request, hold_id: FromPath[str]) -> HoldView:
    """Ten minutes more, once."""
    return await kit_of(request).bookings.prolong(hold_id)


@delete("/holds/{hold_id:str}", tags=["Bookings"], guards=[needs("book", "kiosk")], security=KIOSK_SCHEME)
async def drop_hold(request: Request, hold_id: FromPath[str]) -> None:
    """Let the time go. Unknown or ended holds change nothing."""
    await kit_of(request).bookings.drop(hold_id)


# ---- bookings
@post("/bookings", status_code=201, tags=["Bookings"], guards=[needs("book", "kiosk")], security=KIOSK_SCHEME, opt=raises(*_SALE))
async def book(request: Request, data: JSONBody[bodies.BookingBody]) -> Response[Outcome]:
    """Book one bay. 201 when confirmed, 202 while the booking centre is asked. The same id and body again give the same answer."""
    if not data.customer_id and not data.name.strip():
        raise bad_request("A booking needs a name, or the id of a known customer.")
    return _outcome(await kit_of(request).bookings.book(_ask(data), asker_of(request)), made=True)


@get("/bookings", tags=["Bookings"], guards=[needs(*ANY)], security=KIOSK_SCHEME, sync_to_thread=False)
def bookings_of_day(request: Request, on: DayQuery) -> list[BookingView]:
    """The bookings of a day; a kiosk sees initials only."""
    return kit_of(request).bookings.of_day(bodies.day(on), asker_of(request))


@get(
    "/bookings/{booking_id:str}", tags=["Bookings"], guards=[needs(*ANY)], security=KIOSK_SCHEME, sync_to_thread=False,
    opt=raises("booking_not_found"),
)  # fmt: skip
def read_booking(request: Request, booking_id: FromPath[str]) -> BookingView:
    """One booking with its pass. A kiosk reads only what it sold in the last half hour."""
    return kit_of(request).bookings.read(booking_id, asker_of(request))


@post(
    "/bookings/{booking_id:str}/cancel", status_code=200, tags=["Bookings"], guards=[needs("book")], security=STAFF_SCHEME,
    opt=raises("booking_not_found", "already_cancelled", "already_checked_in", "illegal_move"),
)  # fmt: skip
async def cancel(request: Request, booking_id: FromPath[str], data: JSONBody[bodies.ReasonBody]) -> Response[Outcome]:
    """Cancel. 202 while the booking centre, whose booking it is, has not answered."""
    return _outcome(await kit_of(request).bookings.cancel(booking_id, data.reason, asker_of(request)), made=False)


@post(
    "/bookings/{booking_id:str}/reschedule", status_code=201, tags=["Bookings"], guards=[needs("book")], security=STAFF_SCHEME,
    opt=raises(*_SALE, "booking_not_found", "illegal_move", "reschedule_limit"),
)  # fmt: skip
async def reschedule(request: Request, booking_id: FromPath[str], data: JSONBody[bodies.MoveBody]) -> Response[Outcome]:
    """Move to another time or bay, as a new booking of the same order; the old one is given up when the new one stands."""
    return _outcome(await kit_of(request).bookings.reschedule(booking_id, _ask(data), asker_of(request)), made=True)


@post(
    "/bookings/{booking_id:str}/extend", status_code=201, tags=["Bookings"], guards=[needs("book")], security=STAFF_SCHEME,
    opt=raises(*_SALE, "booking_not_found", "illegal_move"),
)  # fmt: skip
async def extend(request: Request, booking_id: FromPath[str], data: JSONBody[bodies.ExtendBody]) -> Response[Outcome]:
    """Stay longer in the same bay."""
    return _outcome(await kit_of(request).bookings.extend(booking_id, data.booking_id, data.minutes, asker_of(request)), made=True)


# ---- arrivals
@post(
    "/check-in", status_code=200, tags=["Arrivals"], guards=[needs("kiosk", "check_in")], security=KIOSK_SCHEME,
    opt=raises(
        "pin_unknown", "too_many_tries", "pass_invalid", "pass_other_site", "pass_early", "pass_expired", "pass_not_seated",
        "already_checked_in", "declined", *_DOOR,
    ),
)  # fmt: skip
async def check_in(request: Request, data: JSONBody[bodies.CheckInBody]) -> CheckedIn:
    """Check in by PIN or by the text of the QR pass; the doors are asked to open at once."""
    return await kit_of(request).checkin.by_text(data.code, asker_of(request))


@post(
    "/bookings/{booking_id:str}/check-in", status_code=200, tags=["Arrivals"], guards=[needs("check_in")], security=STAFF_SCHEME,
    opt=raises("booking_not_found", *_DOOR),
)  # fmt: skip
async def check_in_by_staff(request: Request, booking_id: FromPath[str], data: JSONBody[bodies.StaffCheckInBody]) -> CheckedIn:
    """Check a guest in by hand."""
    return await kit_of(request).checkin.by_staff(booking_id, asker_of(request), open_doors=data.open_doors)


@post(
    "/bookings/{booking_id:str}/attendance", status_code=200, tags=["Arrivals"], guards=[needs("check_in")], security=STAFF_SCHEME,
    opt=raises("booking_not_found", "illegal_move"),
)  # fmt: skip
async def attend(request: Request, booking_id: FromPath[str], data: JSONBody[bodies.AttendBody]) -> BookingView:
    """The visit is completed, a no-show, or the last word was a mistake."""
    return await kit_of(request).checkin.attend(booking_id, "" if data.state == "none" else data.state, asker_of(request))


@get("/conflicts", tags=["Arrivals"], guards=[needs("view")], security=STAFF_SCHEME, sync_to_thread=False)
def conflicts(request: Request) -> list[Conflict]:
    """Bookings that have lost their place, with ranked ways out."""
    return kit_of(request).displaced.conflicts(asker_of(request))


@post(
    "/bookings/{booking_id:str}/reseat", status_code=200, tags=["Arrivals"], guards=[needs("book")], security=STAFF_SCHEME,
    opt=raises("booking_not_found", "illegal_move", "not_mine", "slot_taken", "resource_not_found"),
)  # fmt: skip
async def reseat(request: Request, booking_id: FromPath[str], data: JSONBody[bodies.ReseatBody]) -> BookingView:
    """Give a displaced booking another bay here, from 30 minutes before its start."""
    return await kit_of(request).displaced.reseat(booking_id, data.resource_id, asker_of(request))


@post(
    "/conflicts/{booking_id:str}/place", status_code=201, tags=["Arrivals"], guards=[needs("book")], security=STAFF_SCHEME,
    opt=raises(
        *_TIMES, "bad_request", "booking_not_found", "illegal_move", "slot_taken", "outside_hours", "id_reused", "already_cancelled",
        "hub_unreachable", "declined", *_STOPPED,
    ),
)  # fmt: skip
async def place(request: Request, booking_id: FromPath[str], data: JSONBody[bodies.PlaceBody]) -> Response[Outcome]:
    """Give a displaced booking another place, at any time, at the price it has: near its start as a seat, else as a new booking of the same
    order. 202 while the booking centre is asked. The same again gives the same answer."""
    desk = kit_of(request).displaced
    return _outcome(await desk.place(booking_id, data.booking_id, data.resource_id, bodies.interval(data), asker_of(request)), made=True)


# ---- blocks
@get("/blocks", tags=["Blocks"], guards=[needs("view")], security=STAFF_SCHEME, sync_to_thread=False)
def blocks_of_day(request: Request, on: DayQuery) -> list[BlockView]:
    """The blocks of a day."""
    return kit_of(request).bookings.blocks_of_day(bodies.day(on))


@post("/blocks", status_code=201, tags=["Blocks"], guards=[needs("block")], security=STAFF_SCHEME, opt=raises(*_TIMES, "id_reused"))
async def block(request: Request, data: JSONBody[bodies.BlockBody]) -> BlockView:
    """Take a bay out of sale. Bookings there are displaced: placed elsewhere where the house's rule allows, else shown as conflicts."""
    interval = bodies.interval(data)
    wanted = Block(
        id=data.block_id, site_id="", resource_id=data.resource_id, start=interval.start, end=interval.end, kind=data.kind, reason=data.reason
    )
    return await kit_of(request).bookings.block(wanted, asker_of(request))


@delete(
    "/blocks/{block_id:str}", status_code=200, tags=["Blocks"], guards=[needs("block")], security=STAFF_SCHEME, opt=raises("block_not_found")
)
async def unblock(request: Request, block_id: FromPath[str]) -> BlockView:
    """Put the bay back on sale."""
    return await kit_of(request).bookings.unblock(block_id, asker_of(request))


# ---- notices
@get("/notices", tags=["Notices"], guards=[needs(*ANY)], security=KIOSK_SCHEME, sync_to_thread=False)
def notices(request: Request) -> list[NoticeView]:
    """What guests of this facility must know, the most urgent first."""
    return kit_of(request).notices.open()


@post(
    "/notices", status_code=201, tags=["Notices"], guards=[needs("block")], security=STAFF_SCHEME,
    opt=raises("bad_interval", "id_reused", "too_many_notices"),
)  # fmt: skip
async def write_notice(request: Request, data: JSONBody[bodies.NoticeBody]) -> NoticeView:
    """Show a notice from now on, here and on the booking pages. The same id and body again give the same answer."""
    until_at = int(bodies.moment(data.until))
    return await kit_of(request).notices.write(data.notice_id, data.level, data.text, data.text_fr, until_at, asker_of(request))


@delete(
    "/notices/{notice_id:str}", status_code=200, tags=["Notices"], guards=[needs("block")], security=STAFF_SCHEME, opt=raises("notice_not_found")
)  # fmt: skip
async def end_notice(request: Request, notice_id: FromPath[str]) -> NoticeView:
    """Take a notice down, whoever wrote it."""
    return await kit_of(request).notices.end(notice_id, asker_of(request))


# ---- doors
@get("/doors", tags=["Doors"], guards=[needs("unlock", "view")], security=STAFF_SCHEME, sync_to_thread=False)
def doors(request: Request) -> Panel:
    """The facility's doors as the controller sees them."""
    return kit_of(request).doors.panel()


@post(
    "/doors/{door_id:str}/unlock", status_code=200, tags=["Doors"], guards=[needs("unlock")], security=STAFF_SCHEME,
    opt=raises("not_found", "no_doors", "door_unavailable", "door_refused"),
)  # fmt: skip
async def unlock(request: Request, door_id: FromPath[str], data: JSONBody[bodies.UnlockBody]) -> Unlocked:
    """Open a door once."""
    done = await kit_of(request).doors.unlock_by(door_id, data.request_id, asker_of(request), data.reason)
    return Unlocked(done.door_id, iso(done.at), done.confirmed_by)


@get("/doors/trail", tags=["Doors"], guards=[needs("view")], security=STAFF_SCHEME, sync_to_thread=False)
def trail(
    request: Request,
    before: Annotated[int, QueryParameter(ge=0, le=2**53, description="Only rows before this one.")] = 0,
    door: Annotated[str, QueryParameter(max_length=120)] = "",
    booking: Annotated[str, QueryParameter(max_length=80)] = "",
    limit: Annotated[int, QueryParameter(ge=1, le=200)] = 50,
) -> TrailPage:
    """Why did this door open? What was asked of the doors and what happened there, the newest first, a sentence each."""
    return kit_of(request).door_trail.page(before_n=before, door_id=door, booking_id=booking, limit=limit)


@post("/doors/trail/check", status_code=200, tags=["Doors"], guards=[needs("unlock")], security=STAFF_SCHEME)
async def check_trail(request: Request) -> TrailCheck:
    """Look now whether a row of the trail or of the journal was changed from outside, which is also done every six hours."""
    halts = kit_of(request).halts
    await halts.watch.look_at_chains()
    found = [one.text for one in halts.alarms() if one.code in ("trail_changed", "journal_changed")]
    return TrailCheck(not found, found)


@get("/doors/alerts", tags=["Doors"], guards=[needs("view")], security=STAFF_SCHEME, sync_to_thread=False)
def door_alerts(request: Request) -> list[AlertView]:
    """Doors that were forced or held open, and where somebody was refused again and again, until staff have answered."""
    return kit_of(request).door_trail.alerts()


@post("/doors/alerts/answer", status_code=200, tags=["Doors"], guards=[needs("unlock")], security=STAFF_SCHEME, opt=raises("not_found"))
async def answer_alert(request: Request, data: JSONBody[bodies.AnswerAlertBody]) -> list[AlertView]:
    """Say what it was; it is written down who said so. Answers with what still waits."""
    trail = kit_of(request).door_trail
    await trail.answer(data.alert, data.word, asker_of(request))
    return trail.alerts()


# ---- the clock
@get("/clock", tags=["Clock"], guards=[needs("view")], security=STAFF_SCHEME, sync_to_thread=False)
def clock_state(request: Request) -> ClockState:
    """The time this box believes, and whether that is trusted; while it is not, nothing is sold."""
    return kit_of(request).time.state()


@post("/clock/confirm", status_code=200, tags=["Clock"], guards=[needs("book")], security=STAFF_SCHEME, opt=raises("clock_moved"))
async def clock_confirm(request: Request, data: JSONBody[bodies.ClockBody]) -> ClockState:
    """Say that the time shown is right. It is written down who said so."""
    return await kit_of(request).time.vouch(asker_of(request), int(bodies.moment(data.shown_at)))


# ---- stopped bays
@get("/halts", tags=["Stopped bays"], guards=[needs("view")], security=STAFF_SCHEME, sync_to_thread=False)
def halts(request: Request) -> list[HaltView]:
    """Bays that are not sold because their books are not sound."""
    return kit_of(request).halts.list()


@post(
    "/halts/lift", status_code=200, tags=["Stopped bays"], guards=[needs("resume")], security=STAFF_SCHEME, opt=raises("not_halted")
)
async def lift_halt(request: Request, data: JSONBody[bodies.LiftBody]) -> Lifted:
    """Put a stopped bay back on sale, after a look at its day. What can be put right is put right; the rest is noted as let stand."""
    return await kit_of(request).halts.lift(data.resource_id, data.reason, asker_of(request))


# ---- after a loss
@post("/recovery/vouch", status_code=200, tags=["After a loss"], guards=[needs("resume")], security=STAFF_SCHEME)
async def vouch(request: Request) -> RecoveryPanel:
    """Vouch that the box before this one is off and stays off. It is written down who said so."""
    return await kit_of(request).recovery.vouch(asker_of(request))


@post("/recovery/stated", status_code=200, tags=["After a loss"], guards=[needs("resume")], security=STAFF_SCHEME, opt=raises("fenced"))
async def state_sold(request: Request, data: JSONBody[bodies.StatedBody]) -> RecoveryPanel:
    """Say that what was sold below the floor has been entered, and how you know; then those times are sold again."""
    return await kit_of(request).recovery.state_sold(data.reason, asker_of(request))


# ---- spare PINs for outages
@post(
    "/outage-pins/void", status_code=200, tags=["Doors"], guards=[needs("void_pins")], security=STAFF_SCHEME, opt=raises("no_doors"),
)  # fmt: skip
async def void_outage_pins(request: Request) -> SparePins:
    """End every spare PIN that no booking has, on the doors and at the booking centre. New ones are made once that is heard."""
    kit = kit_of(request)
    await kit.outage_pins.void(asker_of(request).id)
    return kit.outage_pins.state()


# ---- the outage drill
@get("/drills", tags=["Drill"], guards=[needs("view")], security=STAFF_SCHEME, sync_to_thread=False)
def drills(request: Request) -> list[Drill]:
    """Reports of outage drills, the newest first; the first one may be under way."""
    return kit_of(request).outage.reports()


@post(
    "/drills", status_code=201, tags=["Drill"], guards=[needs("drill")], security=STAFF_SCHEME,
    opt=raises("no_broker", "drill_running", "hub_unreachable"),
)  # fmt: skip
async def start_drill(request: Request, data: JSONBody[bodies.DrillBody]) -> Drill:
    """Unplug the facility from the booking centre for some minutes. It is plugged in again by the clock, or by a restart."""
    return await kit_of(request).outage.start(data.minutes, asker_of(request).id)


@post("/drills/end", status_code=200, tags=["Drill"], guards=[needs("drill")], security=STAFF_SCHEME, opt=raises("no_drill"))
async def end_drill(request: Request) -> Drill:
    """Plug in again before the time is over."""
    return await kit_of(request).outage.end(asker_of(request).id)


def router() -> Router:
    """Everything under /api."""
    handlers = [
        sign_in, sign_out, me, pair, list_kiosks, new_kiosk, remove_kiosk, facility, availability, day_board, panels, link_state, quote,
        hold, prolong, drop_hold, book, bookings_of_day, read_booking, cancel, reschedule, extend, check_in, check_in_by_staff, attend, scan,
        conflicts, reseat, place, blocks_of_day, block, unblock, doors, unlock, trail, check_trail, door_alerts, answer_alert,
        void_outage_pins, clock_state, clock_confirm, drills, start_drill,
        end_drill, *machines.HANDLERS, halts, lift_halt, vouch, state_sold, notices, write_notice, end_notice,
    ]  # fmt: skip
    return Router("/api", route_handlers=handlers)
