"""All emulated bays together: they listen, time passes in them, and the emulated NinjaOne hears when a PC gets or loses its power.

Invariant: nothing here knows of bookings; what the PCs do, they do because the real bay agent told them to.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import httpx

from deploy.bay_agent import signing
from deploy.emulators.bays import desk
from deploy.emulators.bays.estate import Bay
from deploy.emulators.bays.pc import monotonic
from deploy.emulators.bays.settings import Settings
from deploy.emulators.bays.shelly import Switch
from deploy.emulators.bays.wake import Cards
from deploy.emulators.common.http import BodyTooLarge, send_answer
from deploy.emulators.messages.wire import Answer, Listener
from deploy.emulators.ninjaone.errors import ApiError, worded
from deploy.emulators.ninjaone.http import Request, read_request

TICK_S = 0.1
TOLD_TIMEOUT_S = 3.0


class BaysEmulator:
    """After `start`, `url` is the desk's, `switch_url(bay)` a switch's, `wake_address` where PCs are called up; `bays` by their id."""

    def __init__(self, settings: Settings, folder: Path, *, clock: Callable[[], float] = monotonic) -> None:
        self.settings = settings
        self.bays = {spec.id: Bay(spec, settings, folder, clock) for spec in settings.bays}
        self.switches = {key: Switch(bay) for key, bay in self.bays.items()}
        self._listeners = {key: Listener(_app(switch.answer), settings.host, switch.bay.spec.port) for key, switch in self.switches.items()}
        self._desk = Listener(_app(self._desk_answer), settings.host, settings.port)
        self._cards: asyncio.DatagramTransport | None = None
        self._jobs: set[asyncio.Task[None]] = set()
        self._told: dict[str, bool] = {}

    @property
    def url(self) -> str:
        return self._desk.url

    def switch_url(self, bay: str) -> str:
        return self._listeners[bay].url

    @property
    def wake_address(self) -> tuple[str, int]:
        assert self._cards is not None
        return self._cards.get_extra_info("sockname")[:2]

    async def start(self) -> None:
        """Begins to listen; the PCs have been on for long, so they are at once. OSError when a port is taken."""
        loop = asyncio.get_running_loop()
        macs = {bay.spec.mac: bay for bay in self.bays.values()}
        address = (self.settings.host, self.settings.wake_port)
        self._cards, _ = await loop.create_datagram_endpoint(lambda: Cards(list(macs), lambda mac: macs[mac].call_up()), local_addr=address)
        for listener in (self._desk, *self._listeners.values()):
            await listener.come_back()
        for bay in self.bays.values():
            bay.pc.press(bay.monotonic() - self.settings.boot_s)
        self._job(self._tick())

    async def stop(self) -> None:
        """Everything ends, the PCs without a word."""
        for job in self._jobs:
            job.cancel()
        await asyncio.gather(*self._jobs, return_exceptions=True)
        if self._cards is not None:
            self._cards.close()
        for listener in (self._desk, *self._listeners.values()):
            await listener.go_down()
        await asyncio.gather(*(bay.pc.stop() for bay in self.bays.values()))

    async def advance(self) -> None:
        """What is due by now; called by itself many times a second."""
        for bay in self.bays.values():
            await bay.advance()
            on = bay.pc.state == "on"
            if self._told.get(bay.spec.id, on) != on and self.settings.ninjaone_url and bay.spec.device_id:
                self._job(self._tell(bay, on))
            self._told[bay.spec.id] = on

    async def _tick(self) -> None:
        while True:
            await self.advance()
            await asyncio.sleep(TICK_S)

    async def _tell(self, bay: Bay, on: bool) -> None:
        """As NinjaOne's own agent on that PC would be missed there, or heard again."""
        with contextlib.suppress(httpx.HTTPError):
            async with httpx.AsyncClient(timeout=TOLD_TIMEOUT_S, trust_env=False, verify=False) as client:
                await client.post(f"{self.settings.ninjaone_url}/_emulator/device", json={"device_id": bay.spec.device_id, "power": on})

    def _desk_answer(self, request: Request) -> Answer:
        if not (request.path == desk.PREFIX or request.path.startswith(desk.PREFIX + "/")):
            raise ApiError(404, "not_found", f"The desk is at {desk.PREFIX}/.")
        return desk.answer(
            self.bays, self.settings.timezone, request, lambda bay: self._job(self._silence(bay)), lambda bay: self._job(self._forge(bay))
        )

    async def _silence(self, bay: Bay) -> None:
        listener = self._listeners[bay.spec.id]
        await (listener.go_down() if bay.silent else listener.come_back())

    async def _forge(self, bay: Bay) -> None:
        """Somebody on the network who has no key speaks as this PC."""
        body, at, nonce = b"{}", str(int(asyncio.get_running_loop().time())), secrets.token_hex(16)
        signed = signing.of_request(secrets.token_bytes(signing.KEY_BYTES), "/bay/poll", bay.spec.id, at, nonce, body)
        words = {signing.BAY: bay.spec.id, signing.TIME: at, signing.NONCE: nonce, signing.SIGNATURE: signed}
        with contextlib.suppress(httpx.HTTPError):
            async with httpx.AsyncClient(timeout=TOLD_TIMEOUT_S, trust_env=False, verify=False) as client:
                await client.post(f"{bay.spec.site_url}/bay/poll", content=body, headers=words)

    def _job(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._jobs.add(task)
        task.add_done_callback(self._jobs.discard)


def _app(judge: Callable[[Request], Answer]) -> Callable[..., Coroutine[Any, Any, None]]:
    """An ASGI app of one function."""

    async def app(scope: dict[str, Any], receive: Callable, send: Callable) -> None:
        if scope["type"] != "http":
            return
        try:
            answer = judge(await read_request(scope, receive))
        except BodyTooLarge:
            answer = worded(413, "request_too_large", "The body is too large.", "gateway")
        except ConnectionError:
            return
        except ApiError as error:
            answer = worded(error.status, error.code, error.text, "gateway")
        await send_answer(send, answer.status, answer.media, answer.body, answer.headers.items())

    return app
