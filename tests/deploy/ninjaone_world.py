"""An emulated NinjaOne on a clock that the tests move, and somebody who speaks to it over HTTP.

async with emulated() as ninja:
    token = await ninja.machine_token()
    answer = await ninja.ask("GET", "/v2/devices", token)
"""

import contextlib
import secrets
from collections.abc import AsyncIterator
from random import Random
from urllib.parse import parse_qsl, urlsplit

import httpx
import msgspec

from deploy.emulators.ninjaone.devices import DeviceSpec, Script
from deploy.emulators.ninjaone.oauth import App, challenge_of
from deploy.emulators.ninjaone.tenant import Settings
from deploy.emulators.ninjaone.variants import Variants
from deploy.emulators.ninjaone_rmm import NinjaOneEmulator
from shared.runtime.clock import ManualClock

#: Saturday 21 Nov 2026, 12:00 in Halifax
NOON = 1795276800
READER = App("reader-app", "machine", "reader-secret-7d1f")
CONSENTING = App("bay-app", "native", "", ("monitoring", "management"))
WEB = App("web-app", "web", "web-secret-11c0", ("monitoring", "management"), ("https://desk.example.test/back",))
RESTART = Script(146, "Restart simulator software", seconds=4)
BUILT_IN = Script(0, "Clear temporary files", uid="0d3c2b8e-4a51-4a0e-9d5a-2f4bb1f5e001", seconds=2)
BOX_1, BOX_2, ELSEWHERE = DeviceSpec(31, "Box 1"), DeviceSpec(32, "Box 2"), DeviceSpec(77, "Office", organization_id=2)
BACK = "http://127.0.0.1:51234/back"


def settings(**more) -> Settings:
    plain = {
        "port": 0, "apps": (READER, CONSENTING, WEB), "devices": (BOX_1, BOX_2, ELSEWHERE), "scripts": (RESTART, BUILT_IN), "lag_s": 0.0,
        "organizations": {"1": "Bedford", "2": "Office"}, "variants": Variants(),
    }  # fmt: skip
    return Settings(**(plain | more))


class Ninja:
    """The emulator, its clock and an HTTP client."""

    def __init__(self, emulator: NinjaOneEmulator, clock: ManualClock) -> None:
        self.emulator, self.clock = emulator, clock
        self.http = httpx.AsyncClient(base_url=emulator.url, timeout=10, verify=False)

    def forward(self, seconds: float) -> None:
        self.clock.forward(seconds)
        self.emulator.estate.advance()

    async def ask(self, method: str, path: str, token: str = "", body: object = None, **more) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return await self.http.request(method, path, headers=headers, json=body, **more)

    async def token(self, **form: str) -> httpx.Response:
        return await self.http.post("/ws/oauth/token", data=form)

    async def machine_token(self, scope: str = "monitoring management") -> str:
        answer = await self.token(grant_type="client_credentials", client_id=READER.client_id, client_secret=READER.secret, scope=scope)
        assert answer.status_code == 200, answer.text
        return answer.json()["access_token"]

    async def consent(self, scope: str = "monitoring management offline_access") -> dict:
        """What the token endpoint answers after somebody has pressed Allow."""
        verifier = secrets.token_urlsafe(48)
        code = (await self.allowed(scope, challenge_of(verifier)))["code"]
        answer = await self.token(
            grant_type="authorization_code", client_id=CONSENTING.client_id, code=code, redirect_uri=BACK, code_verifier=verifier
        )
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def allowed(self, scope: str, challenge: str, *, answer: str = "allow") -> dict[str, str]:
        """What comes back to the app's own address."""
        query = {
            "response_type": "code", "client_id": CONSENTING.client_id, "redirect_uri": BACK, "scope": scope, "state": "s-1",
            "code_challenge": challenge, "code_challenge_method": "S256",
        }  # fmt: skip
        page = await self.http.get("/ws/oauth/authorize", params=query)
        assert page.status_code == 200 and "asks to act for you" in page.text, page.text
        gone = await self.http.post("/ws/oauth/authorize", data=query | {"answer": answer})
        assert gone.status_code == 302 and gone.headers["location"].startswith(BACK)
        return dict(parse_qsl(urlsplit(gone.headers["location"]).query))

    async def desk(self, path: str, body: object) -> httpx.Response:
        return await self.http.post(f"/_emulator{path}", content=msgspec.json.encode(body), headers={"Content-Type": "application/json"})


@contextlib.asynccontextmanager
async def emulated(**more) -> AsyncIterator[Ninja]:
    clock = ManualClock(float(NOON))
    emulator = NinjaOneEmulator(settings(**more), clock=clock, rng=Random(5))
    await emulator.start()
    ninja = Ninja(emulator, clock)
    try:
        yield ninja
    finally:
        await ninja.http.aclose()
        await emulator.stop()
