"""What customers received, whichever way it came: one list, newest first.

Not for: keeping anything; it reads what the vendors keep. Invariant: looking changes nothing.
"""

import itertools
from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from deploy.emulators.messages.letters import Mail
from deploy.emulators.messages.push import Push, PushService
from deploy.emulators.messages.sendgrid_api import SendGrid
from deploy.emulators.messages.slack import Slack, SlackPost
from deploy.emulators.messages.smtp import MailServer
from deploy.emulators.messages.twilio_api import Sms, Twilio
from deploy.emulators.messages.twilio_words import segments

LOOKED_AT_MAX = 5_000
"""Newest entries of each vendor that a look at the inbox goes through."""
Channel = Literal["sms", "mail", "push", "slack"]


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """One message as people see it. `ref`: the vendor's id; `mine`: the customer wrote it; `notes`: what is worth a second look."""

    id: str
    channel: Channel
    vendor: str
    to: str
    sender: str
    text: str
    at: float
    state: str
    title: str = ""
    url: str = ""
    html: bool = False
    reason: str = ""
    ref: str = ""
    mine: bool = False
    notes: tuple[str, ...] = ()


class Recipient(msgspec.Struct, frozen=True):
    """One address and the newest message there."""

    to: str
    channel: Channel
    count: int
    newest: Shown


class Inbox:
    """Reads what the vendors took."""

    def __init__(self, twilio: Twilio, sendgrid: SendGrid, smtp: MailServer, slack: Slack, push: PushService) -> None:
        self._twilio = twilio
        self._sendgrid = sendgrid
        self._smtp = smtp
        self._slack = slack
        self._push = push

    def shown(self, to: str = "", channel: str = "", limit: int = 100) -> list[Shown]:
        """The newest messages, of one recipient or channel if named."""
        found = [one for one in self._all() if (not to or one.to == to) and (not channel or one.channel == channel)]
        return sorted(found, key=lambda one: one.at, reverse=True)[:limit]

    def recipients(self, limit: int = 200) -> list[Recipient]:
        """Everybody who received or wrote something, the latest first."""
        newest: dict[tuple[str, str], tuple[int, Shown]] = {}
        for one in self._all():
            count, latest = newest.get((one.channel, one.to), (0, one))
            newest[(one.channel, one.to)] = (count + 1, one if one.at > latest.at else latest)
        everybody = [Recipient(to, latest.channel, count, latest) for (_, to), (count, latest) in newest.items()]
        return sorted(everybody, key=lambda one: one.newest.at, reverse=True)[:limit]

    def mail(self, mail_id: str) -> Mail | None:
        return self._sendgrid.find(mail_id) or self._smtp.find(mail_id)

    def _all(self) -> Iterator[Shown]:
        # Newest first, so that what was made in the same instant stays in that order.
        yield from map(_of_sms, _newest(self._twilio.messages))
        yield from map(_of_mail, _newest(self._sendgrid.mails))
        yield from map(_of_mail, _newest(self._smtp.mails))
        yield from map(_of_push, _newest(self._push.pushes))
        yield from map(_of_slack, _newest(self._slack.posts))


def _newest(kept: Any) -> Iterator[Any]:
    return itertools.islice(reversed(kept), LOOKED_AT_MAX)


def _of_sms(sms: Sms) -> Shown:
    mine = sms.direction == "inbound"
    parts = segments(sms.text)
    notes = (f"{parts} segments",) if parts > 1 and not mine else ()
    reason = str(sms.error_code) if sms.error_code else ""
    return Shown(
        id=sms.id,
        channel="sms",
        vendor="twilio",
        to=sms.sender if mine else sms.to,
        sender=sms.to if mine else sms.sender or sms.service,
        text=sms.text,
        at=sms.created_at,
        state=sms.status,
        reason=reason,
        ref=sms.sid,
        mine=mine,
        notes=notes + (("automatic answer",) if sms.direction == "outbound-reply" else ()),
    )


def _of_mail(mail: Mail) -> Shown:
    return Shown(
        id=mail.id,
        channel="mail",
        vendor=mail.vendor,
        to=mail.to,
        sender=mail.sender_name or mail.sender,
        title=mail.subject,
        text=mail.text,
        html=bool(mail.html),
        at=mail.at,
        state=mail.state,
        reason=mail.reason,
        ref=mail.vendor_id,
        notes=tuple(f"attached: {name}" for name in mail.attachments),
    )


def _of_push(push: Push) -> Shown:
    return Shown(
        id=push.id,
        channel="push",
        vendor="web_push",
        to=push.subscription,
        sender="",
        title=push.said("title", "subject"),
        text=push.said("body", "text", "message") or push.content,
        url=push.said("url", "navigate", "click_action"),
        at=push.at,
        state=push.state,
        reason=push.reason,
        notes=((f"topic {push.topic}",) if push.topic else ()) + ((f"urgency {push.urgency}",) if push.urgency != "normal" else ()),
    )


def _of_slack(post: SlackPost) -> Shown:
    text = post.text or "\n".join(_texts(post.blocks))
    return Shown(
        id=post.id,
        channel="slack",
        vendor="slack",
        to=post.hook,
        sender="",
        text=text,
        at=post.at,
        state="shown",
        notes=tuple(f"calls everybody: {word}" for word in post.pings),
    )


def _texts(value: Any) -> Iterator[str]:
    """Every text within Slack blocks, in order."""
    if isinstance(value, dict):
        if isinstance(value.get("text"), str):
            yield value["text"]
        for inner in value.values():
            if isinstance(inner, dict | list):
                yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
