"""A hub with scripted channels, push among them, and a guest with a browser who has booked by its pages; the tests are the clock."""

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

from cloud_hub import app as hub_app
from cloud_hub.store import notifications as kept
from shared.ledger import attendance, records
from shared.notifications import Preferences
from shared.runtime.csrf import FIELD
from tests.cloud_hub.hub_world import LINE_AFTER, HubWorld, opened
from tests.cloud_hub.test_notifying import Scripted, Told
from tests.cloud_hub.visitor import Page, Visitor

#: 22:00 in Halifax: the hub sells it itself
FAR = LINE_AFTER + 8
DAY = "2026-11-21"
PUSH_KEY = "B" + "A" * 86


class ScriptedPush(Scripted):
    """Takes what names the endpoint of a service that it knows."""

    public_key = PUSH_KEY

    def __init__(self) -> None:
        super().__init__("push", "web_push")

    def objection(self, subscription: str) -> str:
        known = json.loads(subscription)["endpoint"].startswith("https://push.example.test/")
        return "" if known else "The subscription names no push service that is known here."


class Reached(Told):
    """`v` is the guest's browser; `root` the address of the order's page once it has booked."""

    def __init__(self, w: HubWorld, sms: Scripted, mail: Scripted, push: Scripted | None) -> None:
        super().__init__(w, sms, mail)
        self.push, self.v, self.root = push, Visitor(w), ""

    async def guest_books(self, start: int = FAR, **details: str) -> Page:
        page = await self.v.booked(start, date=DAY, details=details)
        self.root = page.address.partition("?")[0]
        await self.w.quiet()
        await self.done()
        return page

    @property
    def order_id(self) -> str:
        return self.root.split("/")[2]

    def bookings_of_order(self) -> list:
        return self.w.db.read(lambda tx: records.bookings_of_order(tx, self.order_id))

    def chosen(self) -> Preferences:
        return self.w.db.read(lambda tx: kept.preferences(tx, self.bookings_of_order()[0].customer_id))

    def said(self) -> list[str]:
        return [one.title for one in self.w.db.read(lambda tx: kept.app_messages(tx, self.order_id))]

    async def messages(self) -> Page:
        return await self.v.get(f"{self.root}/messages")

    async def choose(self, page: Page | None = None, channels: tuple[str, ...] | None = None, **values: str | None) -> Page:
        """Sends the form as it stands on the page, with these in place of its values."""
        form = (page or await self.messages()).form("/messages")
        fields = form.filled(**values)
        if channels is not None:
            fields = [pair for pair in fields if pair[0] != "channel"] + [("channel", name) for name in channels]
        return await self.v.post(form.action, fields)

    async def browser(self, endpoint: str = "https://push.example.test/1", where: str = "push", **more) -> tuple[int, str]:
        """What a page's script sends for a browser; the answer's status and its sentence."""
        token = token_of(await self.messages())
        body = {"endpoint": endpoint, "keys": {"p256dh": "p", "auth": "a"}} if where == "push" else {"endpoint": endpoint}
        answer = await self.v.client.post(
            f"{self.root}/{where}", json=body | more, headers={"x-csrf-token": token, "accept": "application/json"}
        )
        return answer.status_code, answer.json()["detail"] if answer.content else ""

    def browsers(self) -> list[str]:
        found = self.w.db.read(lambda tx: kept.subscriptions(tx, self.order_id))
        return [json.loads(doc)["endpoint"] for _, doc in found]

    async def came(self, state: str = "checked_in") -> None:
        """The facility has seen the guest."""
        for b in self.bookings_of_order():
            self.w.site.db.write_now(lambda tx, b=b: attendance.attend(tx, self.w.site.desk, b.id, state, by="kiosk"))
        await self.w.quiet()


def token_of(page: Page) -> str:
    """The token that the page gives its script."""
    return page.text.partition(f'name="{FIELD}" value="')[2].partition('"')[0]


@contextlib.asynccontextmanager
async def reached(folder: Path, monkeypatch, *, push: bool = True) -> AsyncIterator[Reached]:
    sms, mail, pushed = Scripted("sms", "twilio"), Scripted("mail", "sendgrid"), ScriptedPush() if push else None
    channels = {"sms": sms, "mail": mail} | ({"push": pushed} if pushed else {})
    monkeypatch.setattr(hub_app, "opened", lambda config, now: (channels, {}))
    async with opened(folder) as w:
        w.app.ticker.stop()
        told = Reached(w, sms, mail, pushed)
        await told.notifying.sweep()  # it tells from now on
        try:
            yield told
        finally:
            await told.worker.stop()
