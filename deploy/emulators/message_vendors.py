"""Emulated message vendors: Twilio, SendGrid, an SMTP server, Slack hooks and a push service, each at an address of its own.

For: trying and testing everything that must reach somebody, in this process or as `python -m deploy.emulators.messages`. Not for: sending;
nothing leaves this machine. Invariant: it knows the vendors' words only, and nothing of bookings.
"""

import asyncio
import ssl
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from random import Random
from typing import Any

from deploy.emulators.messages import desk, push, sendgrid_check, sendgrid_routes, slack, twilio_routes, twilio_words
from deploy.emulators.messages.faults import Vendor
from deploy.emulators.messages.smtp import MailListener
from deploy.emulators.messages.vendors import Settings, Vendors
from deploy.emulators.messages.wire import App, Front, Listener
from deploy.emulators.tls import self_signed
from shared.runtime.clock import Clock, SystemClock

SETTLE_S = 10.0


class MessageVendors(Vendors):
    """All message vendors. After `start` the URLs are real; `faults` and `webhooks` are the script, `inbox` what customers received.

    `folder` keeps the mail server's certificate when it offers TLS (a temporary one if not given). ValueError for an unknown time zone.
    """

    def __init__(
        self, settings: Settings | None = None, *, clock: Clock | None = None, rng: Random | None = None, folder: Path | None = None
    ) -> None:
        super().__init__(settings or Settings(), (clock or SystemClock()).now, rng)
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self.smtp_certificate: Path | None = None
        """The certificate to trust when the mail server offers TLS."""
        if self.settings.smtp.starttls:
            self.smtp.tls = self._tls(folder)
        self._fronts = self._make_fronts()
        self.listeners = self._make_listeners()
        self._jobs: set[asyncio.Task[None]] = set()

    @property
    def desk_url(self) -> str:
        """The page for people is at `/_emulator/` below it."""
        return self.listeners["desk"].url

    @property
    def twilio_url(self) -> str:
        return self.listeners["twilio"].url

    @property
    def sendgrid_url(self) -> str:
        return self.listeners["sendgrid"].url

    @property
    def smtp_port(self) -> int:
        return self.listeners["smtp"].port

    @property
    def push_origin(self) -> str:
        return self.listeners["web_push"].url

    def hook_url(self, name: str) -> str:
        """The address of a Slack hook; KeyError for an unknown name."""
        return f"{self.listeners['slack'].url}/services/{self.slack_hooks.hooks[name].path}"

    def front(self, vendor: Vendor) -> Front:
        """What stands before one vendor's API: its limit, its slowness, how many requests were there at once."""
        return self._fronts[vendor]

    def subscribe(self, server_key: str = "", name: str = "") -> dict[str, Any]:
        """A new push subscription as a browser gives it; see PushService.subscribe."""
        return self.push_service.subscribe(server_key, name)

    async def start(self) -> None:
        """Begins to listen everywhere. OSError when a port is taken; then nothing listens."""
        self.timers.restart()
        self.webhooks.start()
        try:
            for listener in self.listeners.values():
                await listener.come_back()
        except BaseException:
            await self.stop()
            raise
        self.push_service.origin = self.push_origin

    async def stop(self) -> None:
        """Stops listening and posting, ends every connection; what was received stays readable."""
        jobs = [job for job in self._jobs if job is not asyncio.current_task()]
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)
        self.timers.stop()
        await self.webhooks.stop()
        await asyncio.gather(*(listener.go_down() for listener in self.listeners.values()))
        if self._temporary is not None:
            self._temporary.cleanup()

    async def settle(self, within_s: float = SETTLE_S) -> None:
        """Waits until every message is where it goes and every webhook was heard or given up. TimeoutError if that takes longer."""
        async with asyncio.timeout(within_s):
            while self.timers.waiting or self.webhooks.waiting:
                await asyncio.sleep(0.005)

    async def go_down(self, vendor: Vendor) -> None:
        """Nobody listens for this vendor any more: connections are refused."""
        await self.listeners[vendor].go_down()

    async def come_back(self, vendor: Vendor) -> None:
        """It listens again, on the same port. OSError when somebody else took it."""
        await self.listeners[vendor].come_back()

    def refuse_for(self, vendor: Vendor, seconds: float) -> None:
        """Connections to this vendor are refused for `seconds`."""

        async def away() -> None:
            await self.go_down(vendor)
            await asyncio.sleep(seconds)
            await self.come_back(vendor)

        self._job(away())

    def _make_fronts(self) -> dict[str, Front]:
        twilio, sendgrid = self.settings.twilio, self.settings.sendgrid
        return {
            "twilio": Front(
                twilio_routes.build(self.twilio, self.faults["twilio"]),
                self.faults["twilio"],
                twilio_words.of_status,
                in_flight_max=twilio.in_flight_max,
                latency_s=twilio.latency_s,
            ),
            "sendgrid": Front(
                sendgrid_routes.build(self.sendgrid, self.faults["sendgrid"]),
                self.faults["sendgrid"],
                sendgrid_check.of_status,
                in_flight_max=sendgrid.in_flight_max,
                latency_s=sendgrid.latency_s,
            ),
            "slack": Front(slack.build(self.slack_hooks, self.faults["slack"]), self.faults["slack"], slack.of_status),
            "web_push": Front(push.build(self.push_service, self.faults["web_push"]), self.faults["web_push"], push.of_status),
        }

    def _make_listeners(self) -> dict[str, Listener | MailListener]:
        host, ports = self.settings.host, self.settings.ports
        apps: dict[str, App] = {**self._fronts, "desk": desk.build(self, self.refuse_for)}
        web = {name: Listener(app, host, getattr(ports, name)) for name, app in apps.items()}
        return {**web, "smtp": MailListener(self.smtp, host, ports.smtp)}

    def _tls(self, folder: Path | None) -> ssl.SSLContext:
        if folder is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="mail-emulator-")
            folder = Path(self._temporary.name)
        certificate = self_signed(folder, "mail", ("localhost", "127.0.0.1", self.settings.host))
        self.smtp_certificate = certificate.cert_path
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.cert_path, certificate.key_path)
        return context

    def _job(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._jobs.add(task)
        task.add_done_callback(self._jobs.discard)
