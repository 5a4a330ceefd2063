"""The product as its users see it over HTTP: a program at the hub, staff and a kiosk at a site, somebody at an emulated door or with a telephone.

For: filling the demo, checking it, and the test that kills processes. Not for: deciding what an answer means; every call answers what
was answered. Invariant: nothing here knows more than a user could: addresses, a key, a password, a token.
"""

import secrets
from datetime import UTC, datetime
from typing import Any

import httpx
import msgspec

from deploy.demo.data import Person

TIMEOUT_S = 15.0


class Answer(msgspec.Struct, frozen=True):
    """Status and decoded body; a problem's `code` and `detail` where it is one."""

    status: int
    body: Any

    @property
    def ok(self) -> bool:
        return self.status < 300

    @property
    def code(self) -> str:
        return self.body.get("code", "") if isinstance(self.body, dict) and not self.ok else ""

    def __str__(self) -> str:
        told = self.body.get("detail", self.body) if isinstance(self.body, dict) else self.body
        return f"{self.status} {self.code}: {told}" if not self.ok else str(self.status)


def new_id(kind: str = "b") -> str:
    """An id as clients make them."""
    return f"{kind}-{secrets.token_hex(12)}"


def iso(slot: int) -> str:
    """A slot's start in ISO 8601, UTC."""
    return datetime.fromtimestamp(slot * 900, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def slot(moment: str) -> int:
    """The slot that begins at an ISO 8601 moment."""
    return int(datetime.fromisoformat(moment).timestamp()) // 900


class Client:
    """An HTTP client of one address. Connections are kept; used as an async context."""

    def __init__(self, url: str, *, headers: dict[str, str] | None = None, verify: bool = True) -> None:
        self.url = url
        self.http = httpx.AsyncClient(
            base_url=url, headers=headers, timeout=TIMEOUT_S, verify=verify, trust_env=False,
            limits=httpx.Limits(max_connections=50, keepalive_expiry=20),
        )  # fmt: skip

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.aclose()

    async def ask(self, method: str, path: str, body: Any = None, **more: Any) -> Answer:
        """One request, with a JSON body where there is one. Raises httpx.TransportError where nobody answers."""
        sent = await self.http.request(method, path, json=body, **more)
        kind = sent.headers.get("content-type", "")
        return Answer(sent.status_code, sent.json() if "json" in kind and sent.content else sent.text)

    async def ready(self) -> bool:
        """Whether it serves."""
        try:
            return (await self.http.get("/health/ready")).status_code == 200
        except httpx.TransportError:
            return False


class Hub(Client):
    """A program with an API key at the hub."""

    def __init__(self, url: str, api_key: str) -> None:
        super().__init__(url, headers={"authorization": f"Bearer {api_key}"})

    async def book(
        self, booking_id: str, resource_ids: tuple[str, ...], start: int, end: int, person: Person, guests: int = 2
    ) -> Answer:
        """One bay, or several as one order; the parts behind the first have ids `<booking_id>-2`, `-3` and so on."""
        body: dict[str, Any] = {"customer": msgspec.to_builtins(person), "guests": guests}
        if len(resource_ids) == 1:
            body |= {"booking_id": booking_id, "resource_id": resource_ids[0], "start": iso(start), "end": iso(end)}
        else:
            body["parts"] = [
                {
                    "booking_id": booking_id if number == 1 else f"{booking_id}-{number}", "resource_id": resource_id, "start": iso(start),
                    "end": iso(end),
                }  # fmt: skip
                for number, resource_id in enumerate(resource_ids, 1)
            ]
        return await self.ask("POST", "/api/v1/bookings", body)

    async def booking(self, booking_id: str) -> Answer:
        return await self.ask("GET", f"/api/v1/bookings/{booking_id}")

    async def cancel(self, booking_id: str, reason: str = "") -> Answer:
        return await self.ask("POST", f"/api/v1/bookings/{booking_id}/cancel", {"reason": reason})

    async def reschedule(self, booking_id: str, new_id: str, resource_id: str, start: int, end: int) -> Answer:
        body = {"booking_id": new_id, "resource_id": resource_id, "start": iso(start), "end": iso(end)}
        return await self.ask("POST", f"/api/v1/bookings/{booking_id}/reschedule", body)

    async def availability(self, site_id: str, date: str) -> Answer:
        return await self.ask("GET", "/api/v1/availability", params={"site_id": site_id, "date": date})

    async def sites(self) -> list[dict[str, Any]]:
        """The sites with their links; none while the key is not known yet or nothing answers."""
        try:
            found = await self.ask("GET", "/api/v1/sites")
        except httpx.TransportError:
            return []
        return found.body["sites"] if found.ok else []

    async def resources(self) -> list[dict[str, Any]]:
        found = await self.ask("GET", "/api/v1/resources")
        return found.body["resources"] if found.ok else []

    async def bookings(self, site_id: str, start: int, end: int) -> list[dict[str, Any]]:
        """Every booking of a site that touches `[start, end)` (slots), all pages."""
        found: list[dict[str, Any]] = []
        params = {"site_id": site_id, "from": iso(start), "to": iso(end), "limit": "200"}
        while True:
            page = await self.ask("GET", "/api/v1/bookings", params=params)
            if not page.ok:
                raise RuntimeError(f"The hub did not list its bookings: {page}")
            found += page.body["bookings"]
            if not page.body["next_cursor"]:
                return found
            params["cursor"] = page.body["next_cursor"]


class Site(Client):
    """What staff and kiosk of a site have in common."""

    def __init__(self, site_id: str, url: str) -> None:
        super().__init__(url)
        self.site_id = site_id

    async def book(self, booking_id: str, resource_id: str, start: int, end: int, person: Person, guests: int = 2) -> Answer:
        """One bay; the kiosk asks for a telephone number, staff may go without."""
        body = {
            "booking_id": booking_id, "resource_id": resource_id, "start": iso(start), "end": iso(end), "guests": guests,
            **msgspec.to_builtins(person),
        }  # fmt: skip
        return await self.ask("POST", "/api/bookings", body)

    async def check_in(self, code: str) -> Answer:
        """By PIN or by the text of a pass."""
        return await self.ask("POST", "/api/check-in", {"code": code})

    async def bookings(self, date: str) -> Answer:
        """The bookings that touch a local day."""
        return await self.ask("GET", "/api/bookings", params={"date": date})

    async def availability(self, date: str) -> Answer:
        return await self.ask("GET", "/api/availability", params={"date": date})

    async def link(self) -> Answer:
        return await self.ask("GET", "/api/link")


class Staff(Site):
    """Somebody at the staff page, signed in by password."""

    def __init__(self, site_id: str, url: str, user: str, password: str) -> None:
        super().__init__(site_id, url)
        self._user, self._password = user, password

    async def sign_in(self) -> None:
        """Raises RuntimeError where user or password are refused."""
        answer = await self.ask("POST", "/api/sign-in", {"user": self._user, "password": self._password})
        if not answer.ok:
            raise RuntimeError(f"Staff could not sign in at {self.url}: {answer}")
        self.http.headers["x-csrf-token"] = answer.body["csrf_token"]

    async def booking(self, booking_id: str) -> Answer:
        return await self.ask("GET", f"/api/bookings/{booking_id}")

    async def cancel(self, booking_id: str, reason: str = "") -> Answer:
        return await self.ask("POST", f"/api/bookings/{booking_id}/cancel", {"reason": reason})

    async def reschedule(self, booking_id: str, new_id: str, resource_id: str, start: int, end: int) -> Answer:
        body = {"booking_id": new_id, "resource_id": resource_id, "start": iso(start), "end": iso(end)}
        return await self.ask("POST", f"/api/bookings/{booking_id}/reschedule", body)

    async def let_in(self, booking_id: str) -> Answer:
        """Staff vouch for a guest; no door is asked to open."""
        return await self.ask("POST", f"/api/bookings/{booking_id}/check-in", {"open_doors": False})

    async def block(self, block_id: str, resource_id: str, start: int, end: int, kind: str, reason: str) -> Answer:
        body = {
            "block_id": block_id, "resource_id": resource_id, "start": iso(start), "end": iso(end), "kind": kind, "reason": reason
        }
        return await self.ask("POST", "/api/blocks", body)


class Kiosk(Site):
    """A screen for guests; nothing is shown to it before it is paired."""

    def __init__(self, site_id: str, url: str, token: str = "") -> None:
        super().__init__(site_id, url)
        self.token = token
        self._carry()

    async def pair(self, code: str) -> None:
        """Raises RuntimeError where the code is refused."""
        answer = await self.ask("POST", "/api/kiosks/pair", {"code": code})
        if not answer.ok:
            raise RuntimeError(f"A kiosk could not be paired at {self.url}: {answer}")
        self.token = answer.body["token"]
        self.http.cookies.clear()
        self._carry()

    def _carry(self) -> None:
        if self.token:
            self.http.headers["authorization"] = f"Bearer {self.token}"


class Doors(Client):
    """Somebody at an emulated door controller: its log, its readers. Its certificate is its own, and nothing secret is sent to it."""

    def __init__(self, page: str) -> None:
        super().__init__(page.removesuffix("/_emulator/"), verify=False)

    async def state(self) -> dict[str, Any]:
        """Doors, unlocks (newest first), visitors, log."""
        return (await self.ask("GET", "/_emulator/state")).body

    async def type_pin(self, door_id: str, pin: str) -> dict[str, Any]:
        """A PIN typed in at a door's reader: {"admitted", "reason", "visitor_id"}."""
        return (await self.ask("POST", "/_emulator/reader", {"door_id": door_id, "pin": pin})).body["data"]

    async def would_admit(self, door_id: str, pin: str, at: float) -> dict[str, Any]:
        """What the reader would say to a PIN at that time (unix seconds), as things stand; the same answer."""
        return (await self.ask("POST", "/_emulator/reader", {"door_id": door_id, "pin": pin, "would_at": at})).body["data"]

    async def away(self, seconds: float) -> None:
        """The controller is gone for so long: nobody listens."""
        await self.ask("POST", "/_emulator/faults", {"reboot": {"mode": "refuse", "seconds": seconds}})


class Inbox(Client):
    """Whoever has a telephone and a mailbox, at the page of the emulated message vendors: what came, what is written back, what became of it."""

    def __init__(self, page: str) -> None:
        super().__init__(page.removesuffix("/_emulator/"))

    async def ready(self) -> bool:
        """Whether it serves."""
        try:
            return (await self.http.get("/_emulator/state")).status_code == 200
        except httpx.TransportError:
            return False

    async def received(self, channel: str, to: str) -> list[dict[str, Any]]:
        """What came by `sms` or `mail` to a number (E.164) or address, newest first: id, text, title, at, state and more."""
        answer = await self._done("GET", "/_emulator/messages", params={"channel": channel, "to": to, "limit": "1000"})
        return [one for one in answer if not one["mine"] and "automatic answer" not in one["notes"]]

    async def answer(self, number: str, text: str) -> None:
        """The owner of a number (E.164) writes an SMS to the hub's."""
        await self._done("POST", "/_emulator/sms", {"sender": number, "text": text})

    async def forge(self, number: str, text: str, how: str) -> None:
        """Somebody makes the hub a call as if Twilio had an SMS from this number; it is not signed as Twilio signs (`how`: wrong_key, unsigned, altered)."""
        await self._done("POST", "/_emulator/webhooks", {"vendor": "twilio", "forge": {"how": how, "sender": number, "text": text}})

    async def state(self) -> dict[str, Any]:
        """Everything that goes on there: `opted_out` numbers, `webhooks` with the latest `attempts`, and more."""
        return await self._done("GET", "/_emulator/state")

    async def _done(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        answer = await self.ask(method, path, body, **more)
        if not answer.ok:
            raise RuntimeError(f"The emulated message vendors answered {answer}")
        return answer.body
