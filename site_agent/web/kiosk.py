"""The kiosk's pages: check in, book now, done. Forms that work without a script; the script makes them pleasant.

Only for a paired browser (K6); nothing of a person stays on the screen. Invariant: what these pages do, they do through the services, as
the kiosk that is asking.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, get, post
from litestar.params import FromPath, QueryParameter
from litestar.response import Redirect

from shared.errors import Refusal, Refused, Suggestion, status_of
from shared.model import Interval
from shared.rules import refusal_of
from shared.runtime import qr
from shared.runtime.body import decode_form, read_form
from shared.runtime.problems import of_status
from shared.runtime.routing import Router
from shared.runtime.web import PERMISSIONS_CAMERA
from site_agent.services.booking import Ask
from site_agent.services.kit import Kit
from site_agent.services.recovery import BELOW_FLOOR
from site_agent.services.views import BookingView
from site_agent.services.visits.walkin import Offer, money, price_shown
from site_agent.web import bodies
from site_agent.web.auth import asker_of, client_ip, give_kiosk, kit_of, paired

SlotQuery = Annotated[int, QueryParameter(ge=0, le=10_000_000)]
#: refusals of everything at once, which are told to guests in the words of the whole screen
CLOSING = frozenset({"fenced", "retired", "clock_untrusted"})
#: a notice's level -> its word, and the letter in its sign
LEVELS = {"critical": ("Important", "!"), "warning": ("Please note", "!"), "info": ("Good to know", "i")}
CodeQuery = Annotated[str, QueryParameter(max_length=40)]
MinutesQuery = Annotated[int, QueryParameter(ge=0, le=1440)]


class CodeForm(msgspec.Struct, forbid_unknown_fields=True):
    code: Annotated[str, msgspec.Meta(max_length=400)] = ""


class DetailsForm(msgspec.Struct, forbid_unknown_fields=True):
    """What the guest has chosen and typed. The ids are made by the first page that asks for details."""

    resource_id: bodies.ResourceText
    start: Annotated[int, msgspec.Meta(ge=0, le=10_000_000)]
    minutes: Annotated[int, msgspec.Meta(ge=15, le=1440, multiple_of=15)]
    booking_id: bodies.Id
    name: bodies.NameOrNone = ""
    phone: Annotated[str, msgspec.Meta(max_length=32)] = ""
    guests: bodies.Guests = 1
    quote: Annotated[str, msgspec.Meta(max_length=4096)] = ""

    @property
    def end(self) -> int:
        return self.start + self.minutes // 15


class LeaveForm(msgspec.Struct, forbid_unknown_fields=True):
    hold_id: Annotated[str, msgspec.Meta(max_length=64)] = ""


def _page(request: Request, template: str, status: int = 200, **values: Any) -> Response[str]:
    kit = kit_of(request)
    house = kit.bookings.house()
    return request.app.state.pages.page(
        template, status, facility=house.facility, word=house.facility.word, csrf=kit.csrf.token(request.scope), dark=not kit.link.up(),
        closed=_closed(kit), notices=kit.notices.current(), levels=LEVELS, emergency=kit.emergency.for_guests(), **values,
    )


def _closed(kit: Kit) -> str:
    """Why nothing is sold at this screen, for guests; empty where it sells."""
    why = kit.recovery.closed()
    if not why and kit.time.doubt():
        why = "Nothing can be booked here until the staff have confirmed the time of this system."
    if not why and kit.recovery.panel().state == "floor" and not kit.walkin.openings():
        why = BELOW_FLOOR
    if not why:
        return ""
    support = kit.bookings.house().facility.support_phone
    ask = f" or call {support}" if support else ""
    return f"{why} Please ask the staff{ask}. Check-in works as always."


# ---- pairing
@get("/pair")
async def pair_page(request: Request, code: CodeQuery = "") -> Response[str]:
    """Shown to whoever brings a code that is good; everybody else sees nothing."""
    kit = kit_of(request)
    if not code or not await kit.people.code_is_good(code, client_ip(request)):
        raise of_status(404)
    return _page(request, "pair.html", code=code)


@post("/pair")
async def pair(request: Request) -> Redirect:
    """Uses the code up and remembers the screen in its cookie."""
    kit = kit_of(request)
    form = decode_form(await read_form(request), CodeForm)
    await kit.csrf.guard(request, request.route_handler)
    token, _ = await kit.people.pair(form.code, client_ip(request))
    give_kiosk(request, token)
    return Redirect("/kiosk", status_code=303)


# ---- home and check-in
@get("/", guards=[paired], sync_to_thread=False)
def home(request: Request) -> Response[str]:
    """The attract screen."""
    free = [opening for opening in kit_of(request).walkin.openings() if opening.now]
    return _page(request, "kiosk_home.html", free=len(free), soonest=free[0] if free else None)


@get("/check-in", guards=[paired], sync_to_thread=False)
def check_in_page(request: Request) -> Response[str]:
    return _check_in_page(request)


@post("/check-in", guards=[paired], status_code=200)
async def check_in(request: Request) -> Response[str]:
    """PIN or scanned pass; the answer is a welcome or a sentence that says what to do."""
    kit = kit_of(request)
    form = decode_form(await read_form(request), CodeForm)
    if not form.code.strip():
        return _check_in_page(request, 422, "Please enter your PIN, or scan your QR code.")
    try:
        came = await kit.checkin.by_text(form.code, asker_of(request))
    except Refused as error:
        refusal = error.refusal
        ways = [kit.walkin.place(one.resource_id, one.start_at // 900, one.end_at // 900) for one in refusal.suggestions]
        return _check_in_page(request, _status(error), refusal.detail, ways)
    return _page(request, "kiosk_welcome.html", came=came)


def _check_in_page(request: Request, status: int = 200, error: str = "", ways: Sequence[str] = ()) -> Response[str]:
    """The one page that may look through the camera."""
    page = _page(request, "kiosk_checkin.html", status, error=error, suggestions=ways)
    page.set_header("permissions-policy", PERMISSIONS_CAMERA)
    return page


class WayShown(msgspec.Struct, frozen=True):
    """Something to have instead: in words, with its price, and where it is chosen."""

    place: str
    total: str
    address: str


def _way(kit: Kit, one: Suggestion) -> WayShown:
    start, end = one.start_at // 900, one.end_at // 900
    return WayShown(
        kit.walkin.place(one.resource_id, start, end), money(one.total_cents, one.currency),
        f"/kiosk/book/{one.resource_id}?start={start}&minutes={(end - start) * 15}",
    )  # fmt: skip


def _status(error: Refused) -> int:
    return status_of(error.refusal.code)


# ---- book now
@get("/book", guards=[paired], sync_to_thread=False)
def book_page(request: Request) -> Response[str]:
    """What is free now and next."""
    return _page(request, "kiosk_book.html", openings=kit_of(request).walkin.openings())


@get("/book/{resource_id:str}", guards=[paired], sync_to_thread=False)
def offer_page(request: Request, resource_id: FromPath[str], start: SlotQuery, minutes: MinutesQuery = 0) -> Response[str]:
    """One bay at one start: how long, who."""
    kit = kit_of(request)
    try:
        offer = kit.walkin.offer(resource_id, start)
    except Refused as error:
        if error.refusal.code != "slot_taken":
            raise
        # somebody was faster, or the page is old
        ask = Ask(booking_id="", resource_id=resource_id, start=start, end=start + max(minutes, kit.walkin.least_min()) // 15)
        return _refused_by(request, kit.bookings.refused(ask, asker_of(request), error.refusal))
    chosen = minutes if any(one.minutes == minutes for one in offer.lengths) else offer.lengths[0].minutes
    form = DetailsForm(resource_id=resource_id, start=start, minutes=chosen, booking_id=kit.walkin.new_id())
    return _details(request, offer, form)


def _details(request: Request, offer: Offer, form: DetailsForm, status: int = 200, error: str = "") -> Response[str]:
    return _page(request, "kiosk_details.html", status, offer=offer, form=form, error=error, ahead=_ahead(request, form.start))


def _ahead(request: Request, start: int) -> str:
    """What is to be known before the price of a time that begins in an emergency; empty for any other."""
    emergency = kit_of(request).emergency.for_guests()
    return emergency.ahead(start * 900) if emergency else ""


@post("/review", guards=[paired], status_code=200)
async def review(request: Request) -> Response[str]:
    """Holds the time and shows the price for this guest, line by line."""
    kit = kit_of(request)
    form = decode_form(await read_form(request), DetailsForm)
    problem, ask, asker = _lacking(form), _ask(form), asker_of(request)
    try:
        if problem:
            return _details(request, kit.walkin.offer(form.resource_id, form.start), form, 422, problem)
        quoted = kit.bookings.quote(ask, asker)
        if quoted.violations:
            return _refused_by(request, kit.bookings.refused(ask, asker, refusal_of(quoted.violations)))
        held = await kit.bookings.hold(form.booking_id, form.resource_id, Interval(form.start, form.end))
    except Refused as error:
        return _refused_by(request, error.refusal)
    form = msgspec.structs.replace(form, quote=quoted.tokens[0] if quoted.tokens else "")
    place = kit.walkin.place(form.resource_id, form.start, form.end)
    return _page(request, "kiosk_review.html", form=form, place=place, price=price_shown(quoted.price), held=held, ahead=_ahead(request, form.start))


@post("/confirm", guards=[paired], status_code=200)
async def confirm(request: Request) -> Response[str]:
    """Sells it; PIN and QR pass on the screen."""
    kit = kit_of(request)
    form = decode_form(await read_form(request), DetailsForm)
    problem = _lacking(form)
    if problem:
        return _refused(request, problem, [])
    try:
        outcome = await kit.bookings.book(msgspec.structs.replace(_ask(form), hold_id=form.booking_id), asker_of(request))
    except Refused as error:
        return _refused_by(request, error.refusal)
    b = outcome.booking
    return _booked(request, b)


@get("/booked/{booking_id:str}", guards=[paired], sync_to_thread=False)
def booked(request: Request, booking_id: FromPath[str]) -> Response[str]:
    """The same page again, while the other side is asked or after a reload."""
    kit = kit_of(request)
    b = kit.bookings.read(booking_id, asker_of(request))
    if b.status in ("declined", "cancelled", "expired"):
        refusal = Refusal("declined", "The booking centre could not sell this time. Nothing was booked.")
        return _refused_by(request, kit.bookings.refused(_asked_before(b), asker_of(request), refusal))
    return _booked(request, b)


def _booked(request: Request, b: BookingView) -> Response[str]:
    """PIN and QR code, and a way straight to check-in where the window is open already."""
    kit = kit_of(request)
    soon, emergency = kit.walkin.opens_now(b.start), kit.emergency.for_guests()
    start_at, end_at = (int(datetime.fromisoformat(at).timestamp()) for at in (b.start, b.end))
    code = emergency.code(start_at, end_at) if emergency else ""
    svg = qr.svg(b.pass_text) if b.pass_text else ""
    price = price_shown(b.price) if b.price else None
    return _page(request, "kiosk_done.html", booking=b, svg=svg, price=price, asked=b.status == "requested", soon=soon, code=code)


@post("/leave", guards=[paired])
async def leave(request: Request) -> Redirect:
    """The guest goes away: the held time is let go at once."""
    form = decode_form(await read_form(request), LeaveForm)
    if form.hold_id:
        await kit_of(request).bookings.drop(form.hold_id)
    return Redirect("/kiosk", status_code=303)


def _ask(form: DetailsForm) -> Ask:
    return Ask(
        booking_id=form.booking_id, resource_id=form.resource_id, start=form.start, end=form.end, name=form.name, phone=form.phone,
        guests=form.guests, quote=form.quote,
    )  # fmt: skip


def _asked_before(b: BookingView) -> Ask:
    """What a booking was asked for, to look for the like of it."""
    start, end = (int(datetime.fromisoformat(at).timestamp()) // 900 for at in (b.start, b.end))
    return Ask(booking_id="", resource_id=b.resource_id, start=start, end=end, name=b.name, phone=b.phone, guests=max(1, b.guests))


def _lacking(form: DetailsForm) -> str:
    """What a person has left out or mistyped, as a sentence."""
    if not form.name.strip():
        return "Please type your name."
    if sum(ch.isdigit() for ch in form.phone) < 10 or set(form.phone) - set("0123456789+() .-"):
        return "Please type your phone number with its area code, for example 902-555-0142."
    return ""


def _refused_by(request: Request, refusal: Refusal) -> Response[str]:
    kit = kit_of(request)
    sentence = (_closed(kit) or refusal.detail) if refusal.code in CLOSING else refusal.detail
    return _refused(request, sentence, [_way(kit, one) for one in refusal.suggestions])


def _refused(request: Request, sentence: str, ways: list[WayShown]) -> Response[str]:
    return _page(request, "kiosk_refused.html", 409, sentence=sentence, suggestions=ways)


def router() -> Router:
    """Everything under /kiosk."""
    handlers = [pair_page, pair, home, check_in_page, check_in, book_page, offer_page, review, confirm, booked, leave]
    return Router("/kiosk", route_handlers=handlers, include_in_schema=False)
