"""What the pages' forms and addresses carry, decoded; what is wrong in an address becomes a sentence beside a sound default, in a form a 400."""

import re
from collections.abc import Mapping
from typing import Annotated, Literal
from urllib.parse import urlencode

import msgspec
from msgspec import Meta

from cloud_hub.services.words_desk import Text
from cloud_hub.services.work_desk import STATES, Wanted
from cloud_hub.web.book.forms import Short, Slot
from shared.model import ID_PATTERN, NoticeLevel

TEXT_MAX = 100
HOME = "/manage/work"
#: addresses of these pages that a sign-in leads back to
_OURS = re.compile(r"/manage/[A-Za-z0-9/_-]{1,100}(\?[A-Za-z0-9=&%.+_~-]{0,400})?\Z")


class SignInForm(msgspec.Struct, forbid_unknown_fields=True):
    key: Annotated[str, Meta(max_length=400)] = ""
    next: Annotated[str, Meta(max_length=1000)] = ""


class RetryForm(msgspec.Struct, forbid_unknown_fields=True):
    """`sure`: "yes" where the box was ticked that it may be done twice."""

    sure: Annotated[str, Meta(max_length=8)] = ""


class TextForm(msgspec.Struct, forbid_unknown_fields=True):
    """The editor of a text. What is too long comes through and is judged with the rest, so that nobody loses what they have typed.

    `latest`: the version that was seen, 0 for none; `once`: of the page; `to`: where a test goes; `do`: which button.
    """

    text: str = ""
    subject: str = ""
    html: str = ""
    latest: Annotated[int, Meta(ge=0, le=2**31)] = 0
    once: Annotated[str, Meta(max_length=64)] = ""
    to: str = ""
    do: Literal["check", "save", "put_back", "test"] = "check"

    def draft(self) -> Text:
        """As typed; a browser sends a line's end as two characters."""
        return Text(*(one.replace("\r\n", "\n") for one in (self.text, self.subject, self.html)))


class NoticeForm(msgspec.Struct, forbid_unknown_fields=True):
    """A facility notice as it is written. `site` empty: every facility; `do`: "look" or "write"."""

    notice_id: Annotated[str, Meta(pattern=ID_PATTERN)]
    site: Annotated[str, Meta(max_length=40)] = ""
    level: NoticeLevel = "info"
    text: Annotated[str, Meta(max_length=1000)] = ""
    text_fr: Annotated[str, Meta(max_length=1000)] = ""
    until_day: Annotated[str, Meta(max_length=20)] = ""
    until_clock: Annotated[str, Meta(max_length=20)] = ""
    do: Literal["look", "write"] = "look"


class PlaceForm(msgspec.Struct, forbid_unknown_fields=True):
    """A move of a displaced booking, as it was asked once more; slots."""

    booking: Short
    resource: Short
    start: Slot
    end: Slot
    nonce: Short


class PhoneForm(msgspec.Struct, forbid_unknown_fields=True):
    """Whose telephone is to go."""

    reference: Short = ""


class NoFields(msgspec.Struct, forbid_unknown_fields=True):
    """A form with a button and nothing else."""


def back_to(address: str) -> str:
    """Where a sign-in leads: the page asked for, if it is one of ours."""
    return address if _OURS.match(address) and not address.startswith("/manage/sign-") else HOME


def wanted_of(query: Mapping[str, str], lanes: list[str]) -> tuple[Wanted, list[str]]:
    """What an address looks for, and a sentence for everything in it that makes no sense."""
    wrong: list[str] = []
    state, lane = query.get("state", ""), query.get("lane", "")
    if state and state not in STATES:
        wrong.append("There is no such state, so all are shown.")
        state = ""
    if lane and lane not in lanes:
        wrong.append("Nothing is sent by a vendor of this name, so all are shown.")
        lane = ""
    text = " ".join(query.get("text", "").split())
    if len(text) > TEXT_MAX:
        wrong.append(f"A search has at most {TEXT_MAX} characters, so only the first are looked for.")
        text = text[:TEXT_MAX]
    return Wanted(state=state, lane=lane, text=text, before=_before(query.get("before", ""), wrong)), wrong


def before_of(text: str) -> tuple[tuple[int, str] | None, list[str]]:
    """From which row an address goes on, and a sentence where it does not say so; None for the newest."""
    wrong: list[str] = []
    return _before(text, wrong), wrong


def _before(text: str, wrong: list[str]) -> tuple[int, str] | None:
    at, _, row_id = text.partition("~")
    if not text:
        return None
    if not (at.isascii() and at.isdigit() and len(at) <= 12) or len(row_id) > 300:
        wrong.append("This address does not say where to go on, so the newest are shown.")
        return None
    return int(at), row_id


def version_of(text: str) -> int | None:
    """The version that an address asks for; None where it asks for none, 0 where it makes no sense."""
    return None if not text else int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else 0


def query_of(wanted: Wanted, before: tuple[int, str] | None = None) -> str:
    """The address's query for the same search, from `before` on."""
    values = {"state": wanted.state, "lane": wanted.lane, "text": wanted.text, "before": f"{before[0]}~{before[1]}" if before else ""}
    return urlencode({name: value for name, value in values.items() if value})
