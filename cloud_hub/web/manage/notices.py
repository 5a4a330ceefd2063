"""The admins' page of facility notices (B22): what guests are told now, where; writing one, looking at it first; taking one down.

    GET   /manage/notices                       those that stand, by facility, and the form
    POST  /manage/notices                       a look at one (`do=look`), or it is written (`do=write`)
    POST  /manage/notices/{site}/{id}/end       it is taken down

Invariant: times are by the facility's own clock; nothing is shown to guests that was not looked at as they will see it.
"""

from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import msgspec
from litestar import Request, Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response import Redirect

from cloud_hub.services.hub import Hub
from shared.errors import Refused, refuse, status_of
from shared.model import Facility, Notice
from shared.runtime.body import decode_form, read_form

from . import forms
from .routes import admin_of
from .views import Views

LEVELS = (("info", "Good to know"), ("warning", "Please note"), ("critical", "Important"))


class NoticePages:
    """Over the services of one hub."""

    def __init__(self, hub: Hub, views: Views):
        self._hub, self._views = hub, views

    def page(
        self, request: Request, form: forms.NoticeForm | None = None, drafts: tuple[Notice, ...] = (), *, error: str = "", status: int = 200
    ) -> Response:
        places, now = self._hub.notices.places(), self._hub.desk.now()
        if form is None:
            form = forms.NoticeForm(notice_id=self._hub.notices.new_id(), **self._usual(places, now))
        standing = {site_id: found for site_id, found in self._hub.notices.open().items() if site_id in places or found}
        return self._views.page(
            request, "manage_notices.html", admin=admin_of(request), status=status, form=form, drafts=drafts, error=error, standing=standing,
            places=places, levels=LEVELS, site=self._hub.sites.name, told=request.query_params.get("told", ""), now=now,
            until=lambda notice: self._local(places, notice),
        )  # fmt: skip

    @staticmethod
    def _usual(places: dict[str, Facility], now: int) -> dict[str, str]:
        zone = ZoneInfo(next((facility.zone for facility in places.values()), "UTC"))
        return {"until_day": (datetime.fromtimestamp(now, zone) + timedelta(days=1)).date().isoformat(), "until_clock": "06:00"}

    @staticmethod
    def _local(places: dict[str, Facility], notice: Notice) -> str:
        """Until when, by the facility's clock: "Sat 21 Nov 2026, 18:00"."""
        facility = places.get(notice.site_id)
        there = datetime.fromtimestamp(notice.until_at, ZoneInfo(facility.zone) if facility else UTC)
        return f"{there:%a} {there.day} {there:%b %Y, %H:%M}{'' if facility else ' UTC'}"

    async def send(self, request: Request) -> Response:
        form = decode_form(await read_form(request), forms.NoticeForm)
        try:
            drafts = self._drafts(form, admin_of(request).signed)
            if form.do == "look":
                return self.page(request, form, drafts)
            await self._hub.notices.write(drafts)
        except Refused as no:
            if no.refusal.code == "id_reused":  # gone back to a page that was sent, and changed it: that is another notice
                form = msgspec.structs.replace(form, notice_id=self._hub.notices.new_id())
                return self.page(
                    request, form, error="The notice before is shown already. If you want this one too, look at it again.", status=409
                )
            return self.page(request, form, error=no.refusal.detail, status=status_of(no.refusal.code))
        return Redirect("/manage/notices?told=written", status_code=303)

    def _drafts(self, form: forms.NoticeForm, by: str) -> tuple[Notice, ...]:
        places = self._hub.notices.places()
        if form.site and form.site not in places:
            raise refuse("facility_not_found", "This facility is not known here, or has not been heard from yet.")
        wanted = [form.site] if form.site else list(places)
        if not wanted:
            raise refuse("facility_not_found", "No facility has been heard from yet, so there is nobody to write to.")
        untils = until_of(form, (places[site_id] for site_id in wanted))
        return self._hub.notices.draft(form.notice_id, wanted, form.level, form.text, form.text_fr, untils, by)

    async def end(self, request: Request, site_id: str, notice_id: str) -> Response:
        decode_form(await read_form(request), forms.NoFields)
        await self._hub.notices.end(site_id, notice_id, admin_of(request).signed)
        return Redirect("/manage/notices?told=ended", status_code=303)


def until_of(form: forms.NoticeForm, places: Iterable[Facility]) -> dict[str, int]:
    """The form's day and clock as unix seconds, for each facility by its own clock. Refuses `bad_interval` for what is no day or no clock."""
    try:
        at = datetime.combine(date.fromisoformat(form.until_day), time.fromisoformat(form.until_clock))
    except ValueError:
        raise refuse("bad_interval", "Please say until which day and which time the notice is shown.") from None
    if at.tzinfo is not None or not 2020 <= at.year < 2100:
        raise refuse("bad_interval", "The day must lie between the years 2020 and 2100.")
    return {facility.id: int(at.replace(tzinfo=ZoneInfo(facility.zone)).timestamp()) for facility in places}


def handlers_of_notices(pages: NoticePages) -> list[HTTPRouteHandler]:
    @get("/", include_in_schema=False, sync_to_thread=False)
    def listed(request: Request) -> Response:
        return pages.page(request)

    @post("/", include_in_schema=False, status_code=200)
    async def send(request: Request) -> Response:
        return await pages.send(request)

    @post("/{site_id:str}/{notice_id:str}/end", include_in_schema=False)
    async def end(request: Request, site_id: FromPath[str], notice_id: FromPath[str]) -> Response:
        return await pages.end(request, site_id, notice_id)

    return [listed, send, end]
