"""The customer's own page of an order and what can be done there: pass, calendar, cancel, change, stay longer (W2).

    GET       /b/{order}/{token}                 what stands, with PIN and pass
    GET       /b/{order}/{token}/calendar.ics    the same for a calendar
    GET/POST  /b/{order}/{token}/cancel          what comes back, then cancelling
    GET       /b/{order}/{token}/change          other times
    GET/POST  /b/{order}/{token}/change/confirm  the price of one, then the change
    GET/POST  /b/{order}/{token}/extend          staying longer

Invariant: a wrong token and an order that never was get the same 404, before anything is read; no answer here is kept, indexed or referred to.
"""

from litestar import Request, Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response import Redirect

from cloud_hub.services.hub import Hub
from cloud_hub.services.lost_places import place_before
from cloud_hub.services.offers import Offer, OfferDesk, Search, lengths, simulators
from cloud_hub.services.phone_doors import DoorOffer
from cloud_hub.services.reaching import Reaching
from cloud_hub.services.visits import OrderPage, Visit, Visits
from shared import slots
from shared.errors import Refusal, Refused, refuse
from shared.runtime.body import decode_form, read_form
from shared.runtime.web import PERMISSIONS_POSITION

from . import forms, views
from .calendar_file import calendar
from .link_pages import NO_REFERRER, OWN_REFERRER, LinkPages
from .routes import sections
from .views import Views


class OrderPages(LinkPages):
    """The order, and what is done to its bookings."""

    def __init__(self, hub: Hub, views: Views, offers: OfferDesk, visits: Visits, reaching: Reaching):
        super().__init__(hub, views, visits)
        self._offers, self._reaching = offers, reaching

    def show(self, request: Request, order_id: str, token: str) -> Response:
        page, root = self._open(order_id, token), self._root(order_id, token)
        cards = {visit.booking.id: self._visits.card(visit) for visit in page.visits}
        at_door = {visit.booking.id: self._visits.door(page, visit) for visit in page.visits}
        return self._show(
            request, "order.html", page, root, referrer=_said(at_door), step=3, cards=cards, at_door=at_door,
            reader_codes={visit.booking.id: self._visits.reader_code(visit) for visit in page.visits},
            nonces={visit.booking.id: self._hub.desk.new_id().replace("-", "")[:24] for visit in page.visits}, refund=self._visits.refunded(page),
            notices=self._hub.notices.during(
                page.house.facility.id, min(v.booking.starts_at for v in page.visits), max(v.booking.ends_at for v in page.visits)
            ),
            new=request.query_params.get("new") == "1",
            doors={visit.booking.id: self._visits.doors(visit.booking) for visit in page.visits},
            longer={visit.booking.id: bool(self._visits.longer(page, visit)) for visit in page.live},
            before={visit.booking.id: place_before(page, visit.booking) for visit in page.visits},
            may_change={visit.booking.id: not self._visits.change(page, visit).staff_only for visit in page.live},
            said=self._hub.notifying.said(page.order.id), tells=self._reaching.tells, push_key=self._reaching.push_key,
            asks=page.state == "over" and self._hub.surveys.of(page.order.id).state == "open",
        )  # fmt: skip

    def calendar(self, order_id: str, token: str) -> Response:
        page = self._open(order_id, token)
        body = calendar(page, self._hub.config.hub.http.public_url.rstrip("/") + self._root(order_id, token))
        headers = {**views.PRIVATE, **NO_REFERRER, "content-disposition": f'attachment; filename="booking-{page.order.reference}.ics"'}
        return Response(body, media_type="text/calendar", headers=headers)

    # ---- cancel
    def cancelling(self, request: Request, order_id: str, token: str, *, told: list[str] | None = None, status: int = 200) -> Response:
        page, root = self._open(order_id, token), self._root(order_id, token)
        if not page.cancellable:
            return Redirect(root, status_code=303)
        refunds = {visit.booking.id: self._visits.refund(visit) for visit in page.cancellable}
        # from the page of a lost place only that one is to go; the rest of the order stays unless it is chosen too
        only = request.query_params.get("booking", "")
        only = only if any(visit.booking.id == only for visit in page.cancellable) else ""
        return self._show(request, "cancel.html", page, root, refunds=refunds, only=only, told=told or [], status=status)

    async def cancel(self, request: Request, order_id: str, token: str) -> Response:
        page = self._open(order_id, token)
        form = decode_form(await read_form(request), forms.CancelForm)
        if not form.booking:
            return self.cancelling(request, order_id, token, told=["Please choose what to cancel."], status=422)
        try:
            await self._visits.cancel(page, form.booking)
        except Refused as no:
            return self.cancelling(request, order_id, token, told=views.sentences(no.refusal), status=views.status(no.refusal))
        return Redirect(self._root(order_id, token), status_code=303)

    # ---- change
    def _movable(self, page: OrderPage, booking_id: str) -> Visit:
        visit = self._visits.visit(page, booking_id)
        if visit.booking.status != "confirmed" or visit.asked:
            raise refuse(
                "illegal_move", "This booking cannot be changed just now: it does not stand, or the facility is being asked already."
            )
        return visit

    def changing(self, request: Request, order_id: str, token: str) -> Response:
        page, root = self._open(order_id, token), self._root(order_id, token)
        visit = self._movable(page, request.query_params.get("booking", ""))
        house, b = page.house, visit.booking
        today, last = self._offers.today(house), self._offers.last_day(house, known=True)
        usual = Search(
            site_id=b.site_id,
            on=max(today, min(slots.local_day(house.facility.zone, b.start), last)),
            minutes=(b.end - b.start) * slots.SLOT_MIN,
            guests=1 if page.order.kind == "group" else page.order.guests,
            moving=b.id,
        )
        search, wrong = forms.search_of(dict(request.query_params), house, today, last, usual)
        offers = self._visits.times(page, visit, search)
        return self._show(
            request, "change.html", page, root, status=400 if wrong else 200, visit=visit, search=search, wrong=wrong,
            sections=sections(offers), lengths=lengths(house), bays=simulators(house), today=today, last=last, up=offers.up,
            sells_from=offers.sells_from, days=forms.day_strip(today, last, search.on), fee=self._visits.change(page, visit),
        )  # fmt: skip

    def confirming(
        self,
        request: Request,
        order_id: str,
        token: str,
        wish: forms.MoveForm | None = None,
        told: list[str] | None = None,
        status: int = 200,
    ) -> Response:
        page, root = self._open(order_id, token), self._root(order_id, token)
        query = request.query_params
        booking, resource = (wish.booking, wish.resource) if wish else (query.get("booking", ""), query.get("resource", ""))
        start = wish.start if wish else forms.slot_of(query.get("start", ""))
        minutes = wish.minutes if wish else forms.minutes_of(query.get("minutes", ""))
        visit = self._movable(page, booking)
        move = self._visits.move(page, visit, resource, start, minutes)
        return self._show(
            request, "change_confirm.html", page, root, status=status, visit=visit, move=move, minutes=minutes, told=told or [],
            nonce=self._hub.desk.new_id().replace("-", "")[:24],
        )  # fmt: skip

    async def change(self, request: Request, order_id: str, token: str) -> Response:
        page = self._open(order_id, token)
        form = decode_form(await read_form(request), forms.MoveForm)
        visit = self._visits.visit(page, form.booking)
        try:
            await self._visits.reschedule(visit, form.resource, form.start, form.minutes, nonce=form.nonce, quote=form.quote)
        except Refused as no:
            if no.refusal.code in ("quote_invalid", "quote_expired"):
                told = ["The price was kept for 15 minutes, which are over. Please look at it again and confirm."]
                return self.confirming(request, order_id, token, form, told, 409)
            return self._not_changed(request, page, self._root(order_id, token), visit, no)
        return Redirect(self._root(order_id, token), status_code=303)

    def _not_changed(self, request: Request, page: OrderPage, root: str, visit: Visit, no: Refused) -> Response:
        """The "no" to a change, with the nearest times that this booking could have. The booking stays as it was."""
        return self._show(
            request, "not_changed.html", page, root, status=views.status(no.refusal), visit=visit, told=views.sentences(no.refusal),
            ways=ways_of(no.refusal),
        )  # fmt: skip

    # ---- stay longer
    def extending(self, request: Request, order_id: str, token: str, *, told: list[str] | None = None, status: int = 200) -> Response:
        page, root = self._open(order_id, token), self._root(order_id, token)
        visit = self._movable(page, request.query_params.get("booking", ""))
        return self._show(
            request, "extend.html", page, root, status=status, visit=visit, ways=self._visits.longer(page, visit), told=told or [],
            others=(), begun=False, nonce=self._hub.desk.new_id().replace("-", "")[:24],
        )  # fmt: skip

    async def extend(self, request: Request, order_id: str, token: str) -> Response:
        page = self._open(order_id, token)
        form = decode_form(await read_form(request), forms.ExtendForm)
        visit = self._visits.visit(page, form.booking)
        try:
            await self._visits.extend(page, visit, form.minutes, nonce=form.nonce, shown_cents=form.shown_cents)
        except Refused as no:
            return self._not_extended(request, page, self._root(order_id, token), visit, no)
        return Redirect(self._root(order_id, token), status_code=303)

    def _not_extended(self, request: Request, page: OrderPage, root: str, visit: Visit, no: Refused) -> Response:
        return self._show(
            request, "extend.html", page, root, status=views.status(no.refusal), visit=visit, ways=self._visits.longer(page, visit),
            told=views.sentences(no.refusal), others=ways_of(no.refusal), begun=visit.booking.starts_at <= self._hub.desk.now(),
            nonce=self._hub.desk.new_id().replace("-", "")[:24],
        )  # fmt: skip


def _said(at_door: dict[str, DoorOffer]) -> dict[str, str]:
    """What the page tells the browser of itself: with a form on it, it must say where it comes from, and a telephone may be asked where it is."""
    opens = [one for one in at_door.values() if one.state == "open"]
    if not opens:
        return NO_REFERRER
    return OWN_REFERRER | ({"permissions-policy": PERMISSIONS_POSITION} if any(one.near for one in opens) else {})


def ways_of(refusal: Refusal) -> tuple[Offer, ...]:
    """The ways out that a refused change came with, priced as this customer would pay them."""
    return tuple(
        Offer(
            start=way.start_at // slots.SLOT_S, end=way.end_at // slots.SLOT_S, resource_ids=(way.resource_id,), free=1,
            how="instant" if way.instant else "ask_site", cents=way.total_cents, currency=way.currency,
        )
        for way in refusal.suggestions
    )  # fmt: skip


def handlers(pages: OrderPages) -> list[HTTPRouteHandler]:
    """The routes below a customer's link."""

    @get("/b/{order_id:str}/{token:str}", include_in_schema=False, sync_to_thread=False)
    def show(request: Request, order_id: FromPath[str], token: FromPath[str]) -> Response:
        return pages.show(request, order_id, token)

    @get("/b/{order_id:str}/{token:str}/calendar.ics", include_in_schema=False, sync_to_thread=False)
    def calendar_of(order_id: FromPath[str], token: FromPath[str]) -> Response:
        return pages.calendar(order_id, token)

    @get("/b/{order_id:str}/{token:str}/cancel", include_in_schema=False, sync_to_thread=False)
    def cancelling(request: Request, order_id: FromPath[str], token: FromPath[str]) -> Response:
        return pages.cancelling(request, order_id, token)

    @post("/b/{order_id:str}/{token:str}/cancel", include_in_schema=False)
    async def cancel(request: Request, order_id: FromPath[str], token: FromPath[str]) -> Response:
        return await pages.cancel(request, order_id, token)

    @get("/b/{order_id:str}/{token:str}/change", include_in_schema=False, sync_to_thread=False)
    def changing(request: Request, order_id: FromPath[str], token: FromPath[str]) -> Response:
        return pages.changing(request, order_id, token)

    @get("/b/{order_id:str}/{token:str}/change/confirm", include_in_schema=False, sync_to_thread=False)
    def confirming(request: Request, order_id: FromPath[str], token: FromPath[str]) -> Response:
        return pages.confirming(request, order_id, token)

    @post("/b/{order_id:str}/{token:str}/change/confirm", include_in_schema=False)
    async def change(request: Request, order_id: FromPath[str], token: FromPath[str]) -> Response:
        return await pages.change(request, order_id, token)

    @get("/b/{order_id:str}/{token:str}/extend", include_in_schema=False, sync_to_thread=False)
    def extending(request: Request, order_id: FromPath[str], token: FromPath[str]) -> Response:
        return pages.extending(request, order_id, token)

    @post("/b/{order_id:str}/{token:str}/extend", include_in_schema=False)
    async def extend(request: Request, order_id: FromPath[str], token: FromPath[str]) -> Response:
        return await pages.extend(request, order_id, token)

    return [show, calendar_of, cancelling, cancel, changing, confirming, change, extending, extend]
