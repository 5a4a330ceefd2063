"""All emulated message vendors without their sockets: what they know, their script, and the inbox over them.

Not for: listening (`deploy.emulators.message_vendors`). Invariant: every message has one id among all vendors.
"""

import itertools
from collections.abc import Callable
from random import Random, SystemRandom
from zoneinfo import ZoneInfo

import msgspec

from deploy.emulators.messages.faults import Faults
from deploy.emulators.messages.inbox import Inbox
from deploy.emulators.messages.letters import Mail
from deploy.emulators.messages.push import Push, PushService
from deploy.emulators.messages.sendgrid_api import SendGrid, SendGridSettings
from deploy.emulators.messages.slack import Slack, SlackPost, SlackSettings
from deploy.emulators.messages.smtp import MailServer, SmtpSettings
from deploy.emulators.messages.timers import Timers
from deploy.emulators.messages.twilio_api import Sms, Twilio, TwilioSettings
from deploy.emulators.messages.webhooks import Webhooks


class Ports(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where each listens; 0 takes a free port."""

    desk: int = 0
    twilio: int = 0
    sendgrid: int = 0
    smtp: int = 0
    slack: int = 0
    web_push: int = 0


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that can be chosen, also the shape of the command's TOML file.

    timezone: whose local times the page shows. webhook_hosts: hosts beside this machine that webhooks may go to.
    """

    host: str = "127.0.0.1"
    ports: Ports = Ports()
    timezone: str = "America/Halifax"
    webhook_hosts: tuple[str, ...] = ()
    twilio: TwilioSettings = TwilioSettings()
    sendgrid: SendGridSettings = SendGridSettings()
    smtp: SmtpSettings = SmtpSettings()
    slack: SlackSettings = SlackSettings()


class Vendors:
    """All of them. `faults` and `webhooks` are the script, `inbox` what customers received. ValueError for an unknown time zone."""

    def __init__(self, settings: Settings, now: Callable[[], float], rng: Random | None) -> None:
        rng = rng or SystemRandom()
        numbers = itertools.count(1)

        def new_id() -> str:
            return f"m{next(numbers)}"

        self.settings = settings
        self.timezone = _zone(settings.timezone)
        self.now = now
        self.faults = Faults()
        self.timers = Timers()
        self.webhooks = Webhooks(now, rng, self.timers, settings.webhook_hosts)
        self.twilio = Twilio(settings.twilio, now, rng, self.timers, self.webhooks, new_id)
        self.sendgrid = SendGrid(settings.sendgrid, now, rng, self.timers, self.webhooks, new_id)
        self.smtp = MailServer(settings.smtp, now, self.faults["smtp"], new_id)
        self.slack_hooks = Slack(settings.slack, now, rng, new_id)
        self.push_service = PushService(now, rng, new_id)
        self.inbox = Inbox(self.twilio, self.sendgrid, self.smtp, self.slack_hooks, self.push_service)

    @property
    def sms(self) -> list[Sms]:
        """Messages that were sent to customers, oldest first; what customers wrote and the automatic answers are not among them."""
        return [one for one in self.twilio.messages if one.direction == "outbound-api"]

    @property
    def mail(self) -> list[Mail]:
        """Mails of both ways, one per recipient, oldest first."""
        return sorted([*self.sendgrid.mails, *self.smtp.mails], key=lambda one: one.at)

    @property
    def pushes(self) -> list[Push]:
        return list(self.push_service.pushes)

    @property
    def slack(self) -> list[SlackPost]:
        return list(self.slack_hooks.posts)

    def forget(self) -> None:
        """Empties everything received, every script, suppression and dead address; keys, hooks and subscriptions stay."""
        self.faults.clear()
        self.webhooks.forget()
        for box in (self.twilio, self.sendgrid, self.smtp, self.slack_hooks, self.push_service):
            box.forget()


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"There is no time zone {name!r}.") from error
