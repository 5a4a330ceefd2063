"""Mail by SMTP, to whatever server the operator has: the wire and the channel. The one file that imports `aiosmtplib`.

A letter a connection, a few at once. Until the text has been handed over everything that fails is known to have sent nothing; from then on
only a server's answer is known. Nothing is ever reported back. Invariant: nothing goes in the clear where TLS was asked for.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP as WIRE_POLICY
from email.utils import format_datetime
from typing import Annotated, Literal

import aiosmtplib
import msgspec

from shared.outcomes import Later, Misconfigured, Never, Outcome, Taken, Unknown

from ..ports import Letter
from . import answers
from .channels import Around

Security = Literal["starttls", "tls", "plain"]
_ADDRESS = re.compile(r"[^@\s<>()\[\],;:\"\\\x00-\x1f\x7f]{1,64}@[^@\s<>()\[\],;:\"\\\x00-\x1f\x7f]{1,253}")
#: what a server says of the recipient itself: unknown, moved, no such domain; else it may be full, or dislike the content or us
_NO_SUCH = re.compile(r"\b5\.1\.(0|1|2|3|6|10)\b")
_SOME_STATUS = re.compile(r"\b5\.\d{1,3}\.\d{1,3}\b")


class SmtpSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[channels.smtp]: `security` "starttls" (port 587), "tls" (465) or "plain" (25; with a password only on this machine). `ca_file`: an
    authority to believe besides those of the machine, for a server of one's own."""

    host: str
    sender: Annotated[str, msgspec.Meta(pattern=r"^[^@\s]+@[^@\s]+$")]
    sender_name: str = ""
    reply_to: Annotated[str, msgspec.Meta(pattern=r"^([^@\s]+@[^@\s]+)?$")] = ""
    port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 0
    security: Security = "starttls"
    username: str = ""
    password_file: str = ""
    ca_file: str = ""
    timeout_s: Annotated[float, msgspec.Meta(gt=0, le=300)] = 15.0
    connections_max: Annotated[int, msgspec.Meta(ge=1, le=50)] = 4


SETTINGS = SmtpSettings


def open_channel(settings: SmtpSettings, around: Around) -> SmtpMail:
    """Raises ConfigError, ValueError."""
    return SmtpMail(
        host=settings.host,
        port=settings.port,
        security=settings.security,
        sender=settings.sender,
        sender_name=settings.sender_name,
        reply_to=settings.reply_to,
        username=settings.username,
        password=around.secret(settings.password_file, "password"),
        ca_file=str(around.path(settings.ca_file)) if settings.ca_file else "",
        timeout_s=settings.timeout_s,
        connections_max=settings.connections_max,
        now=around.now,
    )


class SmtpMail:
    """`cloud_hub.ports.Channel` for mail. `port` 0: the usual one of `security`. `ca_file`: certificates in PEM, believed besides the machine's.

    ValueError (with a sentence) for settings that cannot be right.
    """

    name = "mail"
    vendor = "smtp"
    finds = False

    def __init__(
        self,
        *,
        host: str,
        sender: str,
        port: int = 0,
        security: Security = "starttls",
        sender_name: str = "",
        reply_to: str = "",
        username: str = "",
        password: str = "",
        ca_file: str = "",
        timeout_s: float = 15.0,
        connections_max: int = 4,
        now: Callable[[], float],
    ):
        if not host or not _ADDRESS.fullmatch(sender) or not sender.isascii():
            raise ValueError("the settings 'host' and 'sender' must name a server and an address of ours, in plain letters.")
        if bool(username) != bool(password):
            raise ValueError("give both 'username' and 'password_file', or neither.")
        if username and security == "plain" and not answers.is_loopback(host):
            raise ValueError('a password goes to another machine with \'security\' "starttls" or "tls" only.')
        self._host, self._port, self._security = host, port or {"starttls": 587, "tls": 465, "plain": 25}[security], security
        self._login = (username, password) if username else None
        self._tls = _tls(ca_file) if security != "plain" else None
        self._sender, self._from, self._reply_to = sender, Address(sender_name, addr_spec=sender), reply_to
        self._domain = sender.rpartition("@")[2]
        self._timeout_s, self._now = timeout_s, now
        self._free = asyncio.Semaphore(connections_max)

    async def send(self, letter: Letter) -> Outcome:
        if late := answers.worthless(letter, self._now()):
            return late
        if not _ADDRESS.fullmatch(letter.to):
            return Never("bad_address", "This is no e-mail address.", dead_address=True)
        message = self._message(letter)
        async with self._free:
            client = aiosmtplib.SMTP(
                hostname=self._host, port=self._port, use_tls=self._security == "tls", start_tls=False, tls_context=self._tls,
                timeout=self._timeout_s, local_hostname=self._domain,
            )  # fmt: skip
            try:
                return await self._before(client, letter.to) or await _handed_over(client, message)
            finally:
                client.close()

    async def find(self, letter: Letter, since_at: int) -> Taken | None | Unknown:
        return Unknown("A mail server cannot be asked what it has sent.")

    async def close(self) -> None:
        return None

    async def _before(self, client: aiosmtplib.SMTP, to: str) -> Outcome | None:
        """All that comes before the text; None where the server is ready for it. Nothing was sent, whatever fails."""
        try:
            await client.connect()
            if self._security == "starttls":
                await client.starttls()
            if self._login:
                await client.login(*self._login)
            if not client.is_connected:
                return Later("The mail server hung up.")
            return await self._envelope(client, to)
        except aiosmtplib.SMTPRecipientRefused as error:
            return _recipient_refused(error.code, error.message)
        except aiosmtplib.SMTPResponseException as error:
            said = answers.told(f"The mail server said {error.code} {error.message}")
            return Misconfigured(said) if error.code >= 500 else Later(said)
        except (aiosmtplib.SMTPConnectError, aiosmtplib.SMTPServerDisconnected, aiosmtplib.SMTPTimeoutError, OSError) as error:
            if isinstance(error.__cause__, ssl.SSLCertVerificationError) or isinstance(error, ssl.SSLCertVerificationError):
                return Misconfigured("The mail server's certificate is not believed.")
            return Later(f"The mail server cannot be reached ({type(error).__name__}).")
        except aiosmtplib.SMTPException as error:  # it lacks what was asked for: TLS, or a way to sign in
            return Misconfigured(answers.told(error.message))

    async def _envelope(self, client: aiosmtplib.SMTP, to: str) -> Outcome | None:
        if to.isascii():
            await client.mail(self._sender)
            await client.rcpt(to)
            return None
        await client.ehlo()
        if not client.supports_extension("smtputf8"):
            return Never("smtputf8", "The mail server takes addresses of plain letters only.")
        await client.mail(self._sender, options=["SMTPUTF8"], encoding="utf-8")
        await client.rcpt(to, encoding="utf-8")
        return None

    def _message(self, letter: Letter) -> bytes:
        mail = EmailMessage(policy=WIRE_POLICY.clone(utf8=not letter.to.isascii(), cte_type="7bit"))
        mail["From"] = self._from
        mail["To"] = letter.to
        if self._reply_to:
            mail["Reply-To"] = self._reply_to
        mail["Subject"] = answers.subject_of(letter)
        mail["Date"] = format_datetime(datetime.fromtimestamp(int(self._now()), UTC))
        # The same letter has the same id, by which most mailboxes show a second copy as one.
        mail["Message-ID"] = f"<{letter.key}@{self._domain}>"
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(letter.text)
        if letter.html:
            mail.add_alternative(letter.html, subtype="html")
        return mail.as_bytes()


async def _handed_over(client: aiosmtplib.SMTP, message: bytes) -> Outcome:
    try:
        answer = await client.data(message)
    except aiosmtplib.SMTPDataError as error:
        said = answers.told(f"The mail server said {error.code} {error.message}")
        return Never(str(error.code), said) if 500 <= error.code < 600 else Later(said) if 400 <= error.code < 500 else Unknown(said)
    except (aiosmtplib.SMTPException, OSError) as error:
        return Unknown(f"The mail server's answer was lost ({type(error).__name__}).")
    try:
        await client.quit()  # it has the letter; whether it says goodbye does not matter
    except (aiosmtplib.SMTPException, OSError):
        pass
    return Taken(answers.told(answer.message), final=True)


def _recipient_refused(code: int, message: str) -> Outcome:
    said = answers.told(f"The mail server said {code} {message}")
    if code < 500:
        return Later(said)
    # Without an enhanced status the bare code has to do: 550, 551 and 553 speak of the mailbox.
    dead = bool(_NO_SUCH.search(message)) or (code in (550, 551, 553) and not _SOME_STATUS.search(message))
    return Never(str(code), said, dead_address=dead)


def _tls(ca_file: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if ca_file:
        try:
            context.load_verify_locations(ca_file)
        except OSError:
            raise ValueError("the file of 'ca_file' cannot be read, or holds no certificate.") from None
    return context
