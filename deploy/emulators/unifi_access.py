"""An emulated UniFi Access controller: the developer API over TLS with a certificate of its own.

For: trying and testing a whole facility without hardware, in this process or as `python -m deploy.emulators.unifi_access`. Not for: a real
door. Invariant: it knows the vendor's words only, and nothing of bookings.
"""

import argparse
import asyncio
import contextlib
import socket
import tempfile
import tomllib
from collections.abc import Coroutine, Iterable, Iterator, Mapping
from pathlib import Path
from random import Random, SystemRandom

import httpx
import msgspec
import uvicorn

from deploy.emulators.common.command import run
from deploy.emulators.tls import Certificate, self_signed
from deploy.emulators.unifi.application import Application
from deploy.emulators.unifi.control import Box
from deploy.emulators.unifi.controller import AGENT_SCOPES, Controller
from deploy.emulators.unifi.doors import DoorSpec
from deploy.emulators.unifi.envelope import Style
from deploy.emulators.unifi.faults import Faults
from deploy.emulators.unifi.webhooks import Call
from shared.runtime.clock import Clock, SystemClock

TICK_S = 0.2
"""How often the clock is looked at, so that a pulse's end is told without a request."""
KEEP_ALIVE_S = 75
START_WAIT_S = 10.0
HOOK_TIMEOUT_S = 5.0


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the emulator runs inside tests and the demo, which have their own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class UnifiAccessEmulator:
    """One controller that listens. After `start`, `url` and `port` are real; `box` is the state, `faults` the script.

    `tokens` maps bearer tokens to scopes; `folder` keeps the certificate (a temporary one if not given).
    Everything else is the controller's: pin_length, pulse_s, log_delay_s, timezone, staff_pins, style.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        doors: Iterable[DoorSpec],
        tokens: Mapping[str, Iterable[str]],
        clock: Clock | None = None,
        rng: Random | None = None,
        folder: Path | None = None,
        pin_length: int = 6,
        pulse_s: float = 5.0,
        log_delay_s: float = 1.0,
        timezone: str = "America/Halifax",
        staff_pins: tuple[str, ...] = (),
        style: Style | None = None,
    ) -> None:
        self.host = host
        self.port = port
        self.box = Controller(
            (clock or SystemClock()).now,
            rng or SystemRandom(),
            doors,
            tokens,
            pin_length=pin_length,
            pulse_s=pulse_s,
            log_delay_s=log_delay_s,
            timezone=timezone,
            staff_pins=staff_pins,
            style=style,
        )
        self._temporary = None if folder else tempfile.TemporaryDirectory(prefix="unifi-emulator-")
        self._folder = folder or Path(self._temporary.name)  # type: ignore[union-attr]
        self._generation = 0
        self._certificate = self._make_certificate()
        self._application = Application(self.box, Box(self._refuse_soon, self._renew_soon))
        self.box.webhooks.send = self._call_soon
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None
        self._jobs: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"https://{self.host}:{self.port}"

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate's DER form in hex: what a person confirms when pairing."""
        return self._certificate.fingerprint

    @property
    def certificate(self) -> Certificate:
        return self._certificate

    @property
    def serving(self) -> bool:
        """Whether anybody listens just now."""
        return self._server is not None and self._server.started

    @property
    def faults(self) -> Faults:
        return self.box.faults

    def door_id(self, name: str, floor: str = "bedford") -> str:
        """The id of a door by its name and floor; KeyError if there is none."""
        found = DoorSpec(name, floor).id
        if found not in self.box.doors:
            raise KeyError(f"The emulator has no door {name} on floor {floor}.")
        return found

    def requests(self, method: str, path: str = "") -> list[str]:
        """Paths below the API's prefix that were asked with `method` and begin with `path`, oldest first."""
        asked = [asked.removeprefix("/api/v1/developer") for _, verb, asked in self.box.requests if verb == method]
        return [one for one in asked if one.startswith(path)]

    async def start(self) -> None:
        """Begins to listen. OSError when the port is taken."""
        await self.come_back()
        self._job(self._tick())

    async def stop(self) -> None:
        """Stops listening, ends every connection and its own tasks."""
        jobs = [job for job in self._jobs if job is not asyncio.current_task()]
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)
        await self.go_down()
        if self._temporary is not None:
            self._temporary.cleanup()

    async def refuse_for(self, seconds: float) -> None:
        """A reboot: nobody listens for `seconds`, then the same port answers again."""
        await self.go_down()
        await asyncio.sleep(seconds)
        await self.come_back()

    async def renew_certificate(self) -> None:
        """Makes another certificate and serves it on the same port; open connections end."""
        self._generation += 1
        self._certificate = self._make_certificate()
        await self.go_down()
        await self.come_back()

    def _make_certificate(self) -> Certificate:
        name = "unifi-access" if self._generation == 0 else f"unifi-access-{self._generation}"
        return self_signed(self._folder, name, ("localhost", "127.0.0.1", self.host))

    async def come_back(self) -> None:
        """Listens again, on the same port. OSError when somebody else took it."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        # The protocol is named because asyncio turns Nagle's delay off only for sockets that say they are TCP: else 44 ms an answer.
        sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((self.host, self.port))
        except OSError:
            sock.close()
            raise
        self.port = sock.getsockname()[1]
        config = uvicorn.Config(
            self._application,
            ssl_certfile=self._certificate.cert_path,
            ssl_keyfile=self._certificate.key_path,
            lifespan="off",
            log_level="critical",
            access_log=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=1,
            ws_ping_interval=30,
        )
        self._server = _Server(config)
        self._serving = asyncio.create_task(self._server.serve(sockets=[sock]))
        deadline = asyncio.get_running_loop().time() + START_WAIT_S
        while not self._server.started:
            if self._serving.done() or asyncio.get_running_loop().time() > deadline:
                raise RuntimeError("The emulated door controller did not begin to listen.")
            await asyncio.sleep(0.01)

    async def go_down(self) -> None:
        """Stops listening and ends every connection, as a box that loses power; of the state stays what the style says. Again is nothing."""
        server, serving, self._server, self._serving = self._server, self._serving, None, None
        if server is None or serving is None:
            return
        self.box.notifications.drop_all()
        self.box.rebooted()
        server.should_exit = True
        await serving
        # What outlived the grace period (a held answer) is cut, as a box that loses power does.
        for connection in list(server.server_state.connections):
            if connection.transport is not None:
                connection.transport.abort()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self.box.advance()

    def _call_soon(self, call: Call) -> None:
        self._job(self._call(call))

    async def _call(self, call: Call) -> None:
        """One webhook; who does not answer in time is not called again."""
        try:
            async with httpx.AsyncClient(verify=False, trust_env=False, timeout=HOOK_TIMEOUT_S) as client:
                call.answer = (await client.post(call.url, content=call.body, headers=call.headers)).status_code
        except httpx.HTTPError:
            return

    def _refuse_soon(self, seconds: float) -> None:
        self._job(self.refuse_for(seconds))

    def _renew_soon(self) -> None:
        self._job(self.renew_certificate())

    def _job(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._jobs.add(task)
        task.add_done_callback(self._jobs.discard)


class Settings(msgspec.Struct, forbid_unknown_fields=True):
    """The emulator's TOML file; flags win over it."""

    host: str = "127.0.0.1"
    port: int = 12445
    pin_length: int = 6
    pulse_s: float = 5.0
    timezone: str = "America/Halifax"
    staff_pins: list[str] = []
    tokens: dict[str, list[str]] = {}
    doors: list[DoorSpec] = []
    style: Style = Style()


def door_from_word(word: str) -> DoorSpec:
    """`name:floor[:no-sensor|:unbound]`, as on the command line; ValueError says what is wrong."""
    parts = word.split(":")
    if not 2 <= len(parts) <= 3 or not all(parts):
        raise ValueError(f"A door is given as name:floor, with :no-sensor or :unbound behind it if so; got {word!r}.")
    kind = parts[2] if len(parts) == 3 else ""
    if kind not in ("", "no-sensor", "unbound"):
        raise ValueError(f"Behind name:floor a door may say no-sensor or unbound, not {kind!r}.")
    return DoorSpec(parts[0], parts[1], bound=kind != "unbound", sensor=kind != "no-sensor")


def _settings(args: argparse.Namespace) -> Settings:
    settings = Settings()
    if args.config:
        settings = msgspec.convert(tomllib.loads(Path(args.config).read_text()), Settings)
    doors = [door_from_word(word) for word in args.doors] or settings.doors
    tokens: dict[str, list[str]] = {args.token: sorted(AGENT_SCOPES)} if args.token else settings.tokens
    settings = msgspec.structs.replace(settings, doors=doors, tokens=tokens, host=args.host or settings.host)
    if args.port is not None:
        settings.port = args.port
    if not settings.doors:
        raise ValueError("The emulator needs doors: --doors front:bedford, or [[doors]] in its file.")
    if not settings.tokens:
        raise ValueError("The emulator needs a token: --token, or [tokens] in its file.")
    return settings


def _made(settings: Settings, folder: Path | None) -> UnifiAccessEmulator:
    return UnifiAccessEmulator(
        settings.host,
        settings.port,
        doors=settings.doors,
        tokens=settings.tokens,
        folder=folder,
        pin_length=settings.pin_length,
        pulse_s=settings.pulse_s,
        timezone=settings.timezone,
        staff_pins=tuple(settings.staff_pins),
        style=settings.style,
    )


def _lines(emulator: UnifiAccessEmulator) -> Iterator[str]:
    yield f"Emulated door controller at {emulator.url} (page: {emulator.url}/_emulator/)"
    yield f"Certificate SHA-256: {emulator.fingerprint}"
    for door in emulator.box.doors.values():
        yield f"Door {door.spec.floor}/{door.spec.name}: {door.id}"


def main(argv: list[str] | None = None) -> int:
    """The command: 0 after a clean stop, 2 with a sentence when it cannot start."""
    parser = argparse.ArgumentParser(prog="unifi_access", description="An emulated UniFi Access controller.")
    parser.add_argument("--host", help="address to listen on (this machine only by default)")
    parser.add_argument("--port", type=int, help="port to listen on (12445 by default, 0 for a free one)")
    parser.add_argument("--doors", nargs="+", default=[], metavar="NAME:FLOOR", help="doors; :no-sensor or :unbound may follow")
    parser.add_argument("--token", help="a bearer token with the scopes that a site agent needs")
    parser.add_argument("--config", help="a TOML file with host, port, pin_length, pulse_s, timezone, staff_pins, tokens, doors, style")
    parser.add_argument("--folder", type=Path, help="where the certificate is kept (made anew at every start if not given)")
    args = parser.parse_args(argv)
    return run("emulated door controller", lambda: _made(_settings(args), args.folder), _lines)


if __name__ == "__main__":
    raise SystemExit(main())
