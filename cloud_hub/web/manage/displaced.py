"""The admins' page of bookings that have lost their place (B12): which, why, where each could go, and putting it there.

    GET   /manage/displaced         all facilities, the earliest start first
    GET   /manage/displaced/move    one of the ways, asked once more
    POST  /manage/displaced/move    it is taken

Invariant: the guest's link is nobody else's, so it stands nowhere here; a move is told as made only once its owner has made it.
"""

import msgspec
from litestar import Request, Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.response import Redirect

from cloud_hub.services.displaced import Open
from cloud_hub.services.hub import Hub
from cloud_hub.services.offers import House
from cloud_hub.services.visits import new_id
from cloud_hub.services.wording_facts import when
from cloud_hub.web.book import way_words
from cloud_hub.web.book import words as book_words
from cloud_hub.web.book.forms import slot_of
from shared.errors import Refused, refuse, status_of
from shared.model import Booking
from shared.runtime.body import decode_form, read_form

from . import forms
from .routes import admin_of
from .views import Views

HOME = "/manage/displaced"
#: as the books say it -> as people do; a block is told by what was written on it
WHY = {
    "block": "The bay is blocked at that time",
    "override": "Staff at the facility sold over the line, and the web had sold there",
    "door_controller": "Sold before a loss and told to nobody; the door controller still had it. Please find out whose it is",
    "late_sale": "Sold before a loss, and heard of only now. Please look whether it fits",
    "witness": "Sold before a loss, and heard of only now. Please look whether it fits",
    "books_differ": "The facility and the hub do not say the same of it. Please call the facility",
}
OTHERWISE = "Somebody else has the slots"


class Row(msgspec.Struct, frozen=True):
    """One open conflict with what is shown beside it. `up`: whether its facility is heard; `came`: whether the guest is there already."""

    open: Open
    house: House
    reference: str
    up: bool
    came: bool

    @property
    def booking(self) -> Booking:
        return self.open.booking

    @property
    def why(self) -> str:
        said, reason = WHY.get(self.open.queued.why, OTHERWISE), self.open.queued.reason
        text = f"{said}: {reason.strip()}" if reason else said
        return text if text.endswith((".", "!", "?")) else f"{text}."


class DisplacedPages:
    """Over the services of one hub."""

    def __init__(self, hub: Hub, views: Views):
        self._hub, self._views = hub, views

    # ---- the list
    def list(self, request: Request, *, error: str = "", status: int = 200) -> Response:
        rows = [self._row(one) for one in self._hub.displaced.open()]
        dark = list({row.house.facility.id: row.house.facility.name for row in rows if not row.up}.values())
        kind, told = self._told(request.query_params.get("new", ""))
        return self._views.page(
            request, "manage_displaced.html", admin=admin_of(request), status=status, rows=rows, dark=dark, error=error, kind=kind, told=told,
            now=self._hub.desk.now(), say=way_words, when=self._when, called=book_words.called,
        )  # fmt: skip

    def _row(self, one: Open) -> Row:
        b = one.booking
        (seen,) = self._hub.board.see([b])
        came = seen.attendance is not None and bool(seen.attendance.state)
        return Row(one, self._house(b.site_id), seen.reference, self._hub.links.up(b.site_id), came)

    def _house(self, site_id: str) -> House:
        return self._hub.db.read(lambda tx: self._hub.houses.of(tx, site_id))

    @staticmethod
    def _when(house: House, start: int, end: int) -> str:
        """By the facility's own clock: "Sat 21 Nov, 18:00 to 19:00"."""
        return when(house.facility.zone, start, end, "en")

    def _told(self, booking_id: str) -> tuple[str, str]:
        """What has become of a move that was made here, by the books of now: `calm` or `warn`, and a sentence; empty for none."""
        b = self._hub.board.told(self._hub.board.booking(booking_id)) if booking_id else None
        if b is None or not b.placed:
            return "calm", ""
        house = self._house(b.site_id)
        place = f"{book_words.called(house, b.resource_id)}, {self._when(house, b.start, b.end)}"
        name, facility = b.shown_name or "The guest", house.facility.name
        if b.status == "confirmed":
            return "calm", f"Moved: {name} has {place} at {facility}."
        if b.status in ("requested", "pending"):
            return "calm", f"{facility} is being asked for {place}. Until it answers nothing is given up, and {name} stays in this list."
        if b.status in ("declined", "expired"):
            return "warn", f"{facility} could not give {name} {place}. Please choose again."
        return "warn", f"{name} does not have {place} any more."

    # ---- one of the ways
    def sure(self, request: Request) -> Response:
        query = request.query_params
        start, end = (slot_of(query.get(name, "")) for name in ("start", "end"))
        row = self._of(query.get("booking", ""))
        way = next((w for w in row.open.ways if (w.resource_id, w.start, w.end) == (query.get("resource", ""), start, end)), None)
        if way is None:
            return self.list(request, error="This place cannot be had any more. Please choose again.", status=409)
        return self._views.page(
            request, "manage_displaced_move.html", admin=admin_of(request), row=row, way=way, nonce=self._hub.desk.new_id().replace("-", "")[:24],
            say=way_words, when=self._when, called=book_words.called,
        )  # fmt: skip

    def _of(self, booking_id: str) -> Row:
        """Refuses `booking_not_found` for one that is not in the queue."""
        one = self._hub.displaced.one(booking_id)
        if one is None:
            raise refuse("booking_not_found", "This booking has a place again, or is over, or never lost one.")
        return self._row(one)

    async def move(self, request: Request) -> Response:
        form = decode_form(await read_form(request), forms.PlaceForm)
        try:
            seen = await self._hub.displaced.place(
                form.booking, form.resource, form.start, form.end, new_id=new_id(form.nonce), by=admin_of(request).signed
            )
        except Refused as no:
            return self.list(request, error=f"Not moved. {no.refusal.detail}", status=status_of(no.refusal.code))
        return Redirect(f"{HOME}?new={seen.booking.id}", status_code=303)


def handlers_of_displaced(pages: DisplacedPages) -> list[HTTPRouteHandler]:
    @get("/", include_in_schema=False, sync_to_thread=False)
    def listed(request: Request) -> Response:
        return pages.list(request)

    @get("/move", include_in_schema=False, sync_to_thread=False)
    def sure(request: Request) -> Response:
        return pages.sure(request)

    @post("/move", include_in_schema=False)
    async def move(request: Request) -> Response:
        return await pages.move(request)

    return [listed, sure, move]
