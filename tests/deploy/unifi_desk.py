"""The emulated door controller without sockets, for tests: its application, its clock and a client that has the token."""

from random import Random

import httpx

from deploy.emulators.unifi.application import Application
from deploy.emulators.unifi.control import Box
from deploy.emulators.unifi.controller import AGENT_SCOPES, Controller
from deploy.emulators.unifi.doors import DoorSpec
from shared.runtime.clock import ManualClock

NOON = 1_800_000_000
FRONT, SIDE, SHED = DoorSpec("front"), DoorSpec("side", sensor=False), DoorSpec("shed", bound=False)
API = "/api/v1/developer"
VISITOR = {
    "first_name": "Testa", "last_name": "Birdie", "start_time": NOON - 60, "end_time": NOON + 3600, "visit_reason": "Others",
    "remarks": "booking-1", "resources": [{"id": FRONT.id, "type": "door"}],
}  # fmt: skip


class Desk:
    """An emulator without sockets: its application, its clock, and a client that has the token."""

    def __init__(self, **more):
        self.clock = ManualClock(float(NOON))
        tokens = more.pop("tokens", {"good": AGENT_SCOPES, "viewer": {"view:space"}})
        self.box = Controller(self.clock.now, Random(3), [FRONT, SIDE, SHED], tokens, **more)
        self.calls = []
        around = Box(lambda seconds: self.calls.append(("refuse", seconds)), lambda: self.calls.append(("renew",)))
        transport = httpx.ASGITransport(Application(self.box, around))
        self.http = httpx.AsyncClient(transport=transport, base_url="https://box", headers={"Authorization": "Bearer good"})

    async def ask(self, method, path, body=None, status=200, code="SUCCESS", **more):
        answer = await self.http.request(method, API + path, json=body, **more)
        told = answer.json()
        assert (answer.status_code, told["code"]) == (status, code), told
        return told

    async def refusal(self, method, path, body=None, **more):
        """Status and code of an answer that is none of the successes."""
        answer = await self.http.request(method, API + path, json=body, **more)
        return answer.status_code, answer.json()["code"]

    async def tell(self, path, body, status=200):
        answer = await self.http.post("/_emulator" + path, json=body)
        assert answer.status_code == status, answer.text
        return answer.json()
