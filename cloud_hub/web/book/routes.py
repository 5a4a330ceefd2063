"""Booking, step by step: place, time, details. Forms and redirects; a script only makes it smoother (W1).

    GET  /book                       the places
    GET  /book/{site}                the times of a day
    POST /book/{site}                a time is pressed: its bays are held
    GET  /book/hold/{id}             the details, with price and countdown
    POST /book/hold/{id}             the price with a code, or the booking
    POST /book/hold/{id}/extend      ten minutes more, once
    POST /book/hold/{id}/drop        another time after all

What it is not: the page of an order (`order_routes`). Invariant: every "no" is a page with sentences and, where another time helps, with the
nearest times that can be had.
"""

from litestar import Request, Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response import Redirect

from cloud_hub.services.guest_booking import BadDetails, GuestBooking, PriceDiffers, order_of
from cloud_hub.services.guest_holds import GuestHolds, Held
from cloud_hub.services.hub import Hub
from cloud_hub.services.offers import GUESTS_MAX, Offer, OfferDesk, Offers, Search, helps, lengths, simulators
from shared import slots
from shared.errors import Refusal, Refused
from shared.runtime.body import decode_form, read_form
from shared.runtime.cookies import make_cookie, read_cookie, set_cookie

from . import forms, views, words
from .views import Views

KEPT = "held"  # the cookie that remembers what this visitor holds, so that one visitor holds one time
SECTIONS = ((5, "Night"), (12, "Morning"), (17, "Afternoon"), (24, "Evening"))


class BookPages:
    """The steps up to the booking, over the services of one hub."""

    def __init__(self, hub: Hub, views: Views, offers: OfferDesk, holds: GuestHolds, booking: GuestBooking):
        self._hub, self._views, self._offers, self._holds, self._booking = hub, views, offers, holds, booking
        self._tls = hub.config.hub.http.behind_tls

    # ---- place
    def places(self, request: Request) -> Response:
        found = self._offers.places()
        notices = {place.house.facility.id: self._hub.notices.current(place.house.facility.id) for place in found}
        return self._views.page(request, "places.html", public=True, step=0, places=found, notices=notices, now=self._hub.desk.now())

    # ---- time
    def times(self, request: Request, site_id: str) -> Response:
        house = self._offers.house(site_id)
        today, last = self._offers.today(house), self._offers.last_day(house, known=True)
        search, wrong = forms.search_of(request.query_params, house, today, last)
        try:
            offers = self._offers.day(search)
        except Refused as no:
            wrong.append(no.refusal.detail)
            search = Search(site_id=site_id, on=search.on, minutes=search.minutes)
            offers = self._offers.day(search)
        return self._views.page(
            request, "times.html", public=True, status=400 if wrong else 200, step=1, wrong=wrong, page=self._page(request),
            kept=self._kept(request), **self._about(offers),
        )  # fmt: skip

    def _about(self, offers: Offers) -> dict[str, object]:
        house = offers.house
        today = self._offers.today(house)
        return {
            "house": house,
            "search": offers.search,
            "boxes": offers.boxes,
            "sections": sections(offers),
            "bays": simulators(house),
            "lengths": lengths(house),
            "guests_max": min(GUESTS_MAX, sum(bay.capacity for bay in simulators(house))),
            "capacity": min((bay.capacity for bay in simulators(house)), default=1),
            "today": today,
            "last": self._offers.last_day(house, known=True),
            "open_last": self._offers.last_day(house),
            "days": forms.day_strip(today, self._offers.last_day(house, known=True), offers.search.on),
            "up": offers.up,
            "sells_from": offers.sells_from,
            "notices": self._hub.notices.current(house.facility.id),
            "now": self._hub.desk.now(),
        }

    def _page(self, request: Request) -> str:
        return self._holds.new_page(self._views.visitor(request))

    def _kept(self, request: Request) -> Held | None:
        """What this visitor holds, to go on with."""
        try:
            found = self._holds.look(read_cookie(request.scope, KEPT, tls=self._tls))
        except Refused:
            return None
        return found if found.state == "held" else None

    async def hold(self, request: Request, site_id: str) -> Response:
        form = decode_form(await read_form(request), forms.HoldForm)
        house = self._offers.house(site_id)
        zone = house.facility.zone
        search = Search(
            site_id=site_id, on=slots.local_day(zone, form.start), minutes=form.minutes, guests=form.guests, resource_id=form.resource
        )
        try:
            held = await self._holds.take(search, form.start, form.page, before=read_cookie(request.scope, KEPT, tls=self._tls))
        except Refused as no:
            return self.refused(request, no.refusal, search, form.start)
        set_cookie(request.scope, make_cookie(KEPT, held.id, tls=self._tls, max_age_s=3600))
        return Redirect(f"/book/hold/{held.id}?guests={form.guests}", status_code=303)

    def refused(self, request: Request, refusal: Refusal, search: Search, start: int) -> Response:
        """The "no": every rule in the way as a sentence, and the nearest times as buttons (B13)."""
        house, ways = self._offers.house(search.site_id), self._ways(refusal, search, start)
        return self._views.page(
            request, "refused.html", status=views.status(refusal), step=1, house=house, told=views.sentences(refusal), ways=ways,
            search=search, page=self._page(request), now=self._hub.desk.now(),
        )  # fmt: skip

    def _ways(self, refusal: Refusal, search: Search, start: int) -> tuple[Offer, ...]:
        """The nearest times that can be had, where another time helps at all."""
        if not helps(refusal):
            return ()
        try:
            return self._offers.nearest(search, start, known=not any(one.code == "too_far_ahead" for one in refusal.violations))
        except Refused:
            return ()

    # ---- details
    def details(self, request: Request, hold_id: str) -> Response:
        held, guests = self._holds.look(hold_id), forms.guests_of(request.query_params)
        if held.state == "used":
            return self._booked_before(request, held, guests)
        if held.state == "asked":
            return self._views.page(request, "asking.html", step=1, held=held, house=held.house, guests=guests, now=self._hub.desk.now())
        if held.state != "held":
            return self._over(request, held, guests)
        return self._form(request, held, forms.DetailsForm(guests=guests))

    def _over(self, request: Request, held: Held, guests: int) -> Response:
        if held.state == "declined":
            refusal = Refusal("slot_taken", "The facility has just sold this time to somebody else.")
        else:
            refusal = Refusal("hold_ended", "Your time to book was over, so this time went back on sale.")
        return self.refused(request, refusal, self._search(held, guests), held.start)

    @staticmethod
    def _search(held: Held, guests: int) -> Search:
        house = held.house
        on = slots.local_day(house.facility.zone, held.start)
        return Search(site_id=house.facility.id, on=on, minutes=held.minutes, guests=guests)

    def _form(
        self, request: Request, held: Held, form: forms.DetailsForm, *, errors: dict[str, str] | None = None, told: list[str] | None = None,
        quoted=None, ways: tuple[Offer, ...] = (), status: int = 200,
    ) -> Response:  # fmt: skip
        """The details with the price of this moment. A code that is not good is left out of the price and told at its field."""
        errors = dict(errors or {})
        if quoted is None:
            try:
                quoted = self._booking.quote(held, form.guests, "" if "code" in errors else form.code)
            except Refused as no:
                errors["code"] = no.refusal.detail
                quoted = self._booking.quote(held, form.guests)
        if errors and status == 200:
            status = 422
        return self._views.page(
            request, "details.html", status=status, step=2, held=held, house=held.house, form=form, quoted=quoted, errors=errors,
            told=told or [], notices=self._hub.notices.during(held.house.facility.id, held.start * slots.SLOT_S, held.end * slots.SLOT_S), ways=ways,
            page=self._page(request) if ways else "",
            policy=words.policy(held.house, self._offers.today(held.house)), now=self._hub.desk.now(), boxes=len(held.holds),
            open_limit=words.open_limit(held.house.profile.policy),
            token=quoted.tokens[0] if len(quoted.tokens) == 1 else "", codes=bool(held.house.profile.tariff.codes),
        )  # fmt: skip

    async def send(self, request: Request, hold_id: str) -> Response:
        form = decode_form(await read_form(request), forms.DetailsForm)
        held = self._holds.look(hold_id)
        if held.state == "used" or self._hub.board.order(order_of(hold_id)):
            return self._booked_before(request, held, form.guests)
        if held.state != "held":
            return self._over(request, held, form.guests)
        if form.do == "price":
            return self._form(request, held, form)
        return await self._book(request, held, form)

    async def _book(self, request: Request, held: Held, form: forms.DetailsForm) -> Response:
        try:
            await self._booking.book(held, form.details())
        except BadDetails as bad:
            return self._form(request, held, form, errors=bad.errors)
        except PriceDiffers as other:
            told = ["The price below is not the one you saw. Please look at it and confirm again."]
            return self._form(request, held, form, told=told, quoted=other.quoted, status=409)
        except Refused as no:
            return self._not_booked(request, held, form, no.refusal)
        set_cookie(request.scope, make_cookie(KEPT, "", tls=self._tls, max_age_s=0))
        return self.to_order(held.id)

    def _not_booked(self, request: Request, held: Held, form: forms.DetailsForm, refusal: Refusal) -> Response:
        if refusal.code.startswith("code_"):
            return self._form(request, held, form, errors={"code": refusal.detail})
        if refusal.code in ("quote_invalid", "quote_expired"):
            told = ["The price was kept for 15 minutes, which are over. Please look at it again and confirm."]
            return self._form(request, held, form, told=told, status=409)
        search = self._search(held, form.guests)
        if helps(refusal) and not refusal.violations:
            return self.refused(request, refusal, search, held.start)
        # a rule may be one for this contact only, so the form stays, and the other times stand beside it
        ways = self._ways(refusal, search, held.start)
        return self._form(request, held, form, told=views.sentences(refusal), ways=ways, status=views.status(refusal))

    def _booked_before(self, request: Request, held: Held, guests: int) -> Response:
        """Whoever held it gets to the order again. Nobody else does: anybody who has seen the booking's id knows the hold's."""
        if self._holds.begun_by(held.id, self._views.visitor(request)):
            return self.to_order(held.id)
        refusal = Refusal("hold_ended", "This time has been booked. Its page opens with the link that its guest was given.")
        return self.refused(request, refusal, self._search(held, guests), held.start)

    def to_order(self, hold_id: str) -> Response:
        order_id = order_of(hold_id)
        return Redirect(f"/b/{order_id}/{self._hub.customer_links.token(order_id)}?new=1", status_code=303)

    async def extend(self, request: Request, hold_id: str) -> Response:
        form = decode_form(await read_form(request), forms.PressForm)
        try:
            await self._holds.prolong(hold_id)
        except Refused as no:
            held = self._holds.look(hold_id)
            if held.state != "held":
                return self._over(request, held, form.guests)
            return self._form(request, held, forms.DetailsForm(guests=form.guests), told=[no.refusal.detail], status=409)
        return Redirect(f"/book/hold/{hold_id}?guests={form.guests}", status_code=303)

    async def drop(self, request: Request, hold_id: str) -> Response:
        form = decode_form(await read_form(request), forms.PressForm)
        held = self._holds.look(hold_id)
        await self._holds.drop(hold_id)
        set_cookie(request.scope, make_cookie(KEPT, "", tls=self._tls, max_age_s=0))
        search = self._search(held, form.guests)
        address = f"/book/{search.site_id}?date={search.on}&minutes={search.minutes}&guests={search.guests}"
        return Redirect(address, status_code=303)


def sections(offers: Offers) -> list[tuple[str, list]]:
    """The day's offers under Night, Morning, Afternoon and Evening by the facility's wall clock; empty parts are left out."""
    zone = offers.house.facility.zone
    found: dict[str, list] = {name: [] for _, name in SECTIONS}
    for offer in offers.offers:
        hour = slots.local_clock(zone, offer.start)[1] // 60
        found[next(name for until, name in SECTIONS if hour < until)].append(offer)
    return [(name, those) for name, those in found.items() if those]


def handlers(pages: BookPages) -> list[HTTPRouteHandler]:
    """The routes of the steps."""

    @get("/", include_in_schema=False, sync_to_thread=False)
    def home() -> Redirect:
        return Redirect("/book", status_code=303)

    @get("/book", include_in_schema=False, sync_to_thread=False)
    def places(request: Request) -> Response:
        return pages.places(request)

    @get("/book/{site_id:str}", include_in_schema=False, sync_to_thread=False)
    def times(request: Request, site_id: FromPath[str]) -> Response:
        return pages.times(request, site_id)

    @post("/book/{site_id:str}", include_in_schema=False)
    async def hold(request: Request, site_id: FromPath[str]) -> Response:
        return await pages.hold(request, site_id)

    @get("/book/hold/{hold_id:str}", include_in_schema=False, sync_to_thread=False)
    def details(request: Request, hold_id: FromPath[str]) -> Response:
        return pages.details(request, hold_id)

    @post("/book/hold/{hold_id:str}", include_in_schema=False)
    async def send(request: Request, hold_id: FromPath[str]) -> Response:
        return await pages.send(request, hold_id)

    @post("/book/hold/{hold_id:str}/extend", include_in_schema=False)
    async def extend(request: Request, hold_id: FromPath[str]) -> Response:
        return await pages.extend(request, hold_id)

    @post("/book/hold/{hold_id:str}/drop", include_in_schema=False)
    async def drop(request: Request, hold_id: FromPath[str]) -> Response:
        return await pages.drop(request, hold_id)

    return [home, places, times, hold, details, send, extend, drop]
