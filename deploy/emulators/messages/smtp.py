"""An SMTP server that keeps what it is given: every recipient's copy in a mailbox, nothing goes anywhere.

Not for: relaying. Invariant: what was answered with 250 is in `mails`, and, but for a fault that says so, nothing else is.
"""

import asyncio
import email
import email.policy
import ssl
import warnings
from collections import deque
from collections.abc import Callable
from email.message import EmailMessage
from typing import Any

import msgspec
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from deploy.emulators.messages.faults import Fault, VendorFaults
from deploy.emulators.messages.letters import MAILS_MAX, Mail
from deploy.emulators.messages.wire import BACKLOG, bound

SIZE_MAX = 10 * 1024 * 1024
WORDS = {
    421: "4.3.2 Service shutting down",
    450: "4.2.1 Mailbox busy",
    451: "4.3.0 Try again later",
    452: "4.5.3 Too many recipients",
    530: "5.7.0 Authentication required",
    535: "5.7.8 Authentication credentials invalid",
    550: "5.1.1 The mailbox does not exist",
    552: "5.3.4 Message too big",
    554: "5.7.1 Message refused",
}


class SmtpSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """With `user` a sign-in is demanded; with `starttls` TLS is offered. `hostname` is what the server calls itself."""

    user: str = ""
    password: str = ""
    hostname: str = "mail.example.test"
    starttls: bool = False


class _Gone(Exception):
    """The connection is closed without an answer."""


class MailServer:
    """The server. `mails` are what it took, one per recipient, oldest first; `dead`: address in lower case -> SMTP code at RCPT."""

    def __init__(
        self,
        settings: SmtpSettings,
        now: Callable[[], float],
        faults: VendorFaults,
        new_id: Callable[[], str],
    ) -> None:
        self.settings = settings
        self.tls: ssl.SSLContext | None = None
        """What it offers with STARTTLS, if anything."""
        self.mails: deque[Mail] = deque(maxlen=MAILS_MAX)
        self.dead: dict[str, int] = {}
        self._now = now
        self._faults = faults
        self._new_id = new_id

    def forget(self) -> None:
        self.mails.clear()
        self.dead.clear()

    def find(self, mail_id: str) -> Mail | None:
        return next((mail for mail in self.mails if mail.id == mail_id), None)

    def protocol(self) -> SMTP:
        """One connection's."""
        with warnings.catch_warnings():
            # It listens on this machine only, where a sign-in without TLS gives nothing away.
            warnings.simplefilter("ignore")
            return _Smtp(
                self,
                hostname=self.settings.hostname,
                ident="emulated",
                enable_SMTPUTF8=True,
                data_size_limit=SIZE_MAX,
                tls_context=self.tls,
                auth_required=bool(self.settings.user),
                auth_require_tls=False,
                authenticator=self._sign_in,
                loop=asyncio.get_running_loop(),
            )

    async def handle_MAIL(self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]) -> str:
        refusal = await self._suffer(server, "MAIL")
        if refusal or self._faults.revoked:
            return refusal or _words(530)
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 Sender OK"

    async def handle_RCPT(self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]) -> str:
        refusal = await self._suffer(server, "RCPT")
        code = self.dead.get(address.lower(), 0)
        if refusal or code:
            return refusal or _words(code)
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 Recipient OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        fault = self._faults.take("DATA", "")
        if fault is None:
            return self._take(envelope)
        if fault.kind == "slow":
            await asyncio.sleep(fault.seconds)
            return self._take(envelope)
        if fault.done:
            self._take(envelope)
        return await self._broken(server, fault)

    def _take(self, envelope: Envelope) -> str:
        for to in envelope.rcpt_tos:
            self.mails.append(self._mail(envelope, to))
        return f"250 2.0.0 OK {self.mails[-1].id}"

    async def _suffer(self, server: SMTP, command: str) -> str:
        """The answer that a fault for `command` gives, or nothing."""
        fault = self._faults.take(command, "", named=True)
        if fault is None:
            return ""
        if fault.kind == "slow":
            await asyncio.sleep(fault.seconds)
            return ""
        return await self._broken(server, fault)

    async def _broken(self, server: SMTP, fault: Fault) -> str:
        if fault.seconds:
            await asyncio.sleep(fault.seconds)
        if fault.kind == "lost":
            raise _Gone
        return _words(fault.code)

    def _sign_in(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, auth_data: Any) -> AuthResult:
        fault = self._faults.take("AUTH", "", named=True)
        if fault is not None and fault.kind == "status":
            return AuthResult(success=False, handled=False, message=_words(fault.code))
        right = (
            isinstance(auth_data, LoginPassword)
            and auth_data.login == self.settings.user.encode()
            and auth_data.password == self.settings.password.encode()
        )
        if right and not self._faults.revoked:
            return AuthResult(success=True)
        return AuthResult(success=False, handled=False, message=_words(535))

    def _mail(self, envelope: Envelope, to: str) -> Mail:
        raw = envelope.content if isinstance(envelope.content, bytes) else (envelope.content or "").encode()
        message = email.message_from_bytes(raw, policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        return Mail(
            id=self._new_id(),
            vendor="smtp",
            to=to,
            sender=envelope.mail_from or "",
            sender_name=str(message.get("From", "")),
            subject=str(message.get("Subject", "")),
            text=_part(message, "plain"),
            html=_part(message, "html"),
            at=self._now(),
            state="delivered",
            vendor_id=str(message.get("Message-ID", "")),
            headers={name: str(value) for name, value in message.items()},
            attachments=tuple(part.get_filename() or part.get_content_type() for part in message.iter_attachments()),
        )


class _Smtp(SMTP):
    """aiosmtpd's protocol, which a handler can leave without an answer."""

    async def _call_handler_hook(self, command: str, *args: Any) -> Any:
        try:
            return await super()._call_handler_hook(command, *args)
        except _Gone:
            # Not only closed: the answer that would follow must never be written.
            assert isinstance(self.transport, asyncio.Transport)
            self.transport.abort()
            raise asyncio.CancelledError from None


class MailListener:
    """The server's address; it can go down and come back on the same port."""

    def __init__(self, mail_server: MailServer, host: str, port: int = 0) -> None:
        self.host = host
        self.port = port
        self._mail_server = mail_server
        self._server: asyncio.Server | None = None
        self._open: set[SMTP] = set()

    @property
    def url(self) -> str:
        return f"smtp://{self.host}:{self.port}"

    async def come_back(self) -> None:
        """Begins to listen. OSError when the port is taken."""
        if self._server is None:
            sock = bound(self.host, self.port)
            self.port = sock.getsockname()[1]
            self._server = await asyncio.get_running_loop().create_server(self._connection, sock=sock, backlog=BACKLOG)

    async def go_down(self) -> None:
        """Stops listening and ends every connection. Again is nothing."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        for one in self._open:
            if one.transport is not None:
                one.transport.close()
        self._open.clear()
        await server.wait_closed()

    def _connection(self) -> SMTP:
        self._open = {one for one in self._open if one.transport is None or not one.transport.is_closing()}
        one = self._mail_server.protocol()
        self._open.add(one)
        return one


def _words(code: int) -> str:
    return f"{code} {WORDS.get(code, '4.3.0 Not now' if code < 500 else '5.3.0 Refused')}"


def _part(message: EmailMessage, kind: str) -> str:
    """The text of a mail's first part of this kind; what cannot be read is shown with marks in place of it."""
    try:
        part = message.get_body((kind,))
        return "" if part is None else str(part.get_content())
    except (KeyError, LookupError, UnicodeDecodeError, AttributeError):
        return "(a part that cannot be read)"
