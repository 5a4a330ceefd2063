"""Twilio's words: error codes with their bodies, ids, segments, keywords of opting out, and how a webhook is signed.

Not for: keeping messages. Pure. Invariant: every error leaves here in the documented shape.
"""

import base64
import datetime as dt
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from email.utils import format_datetime
from typing import Any

import msgspec

from deploy.emulators.messages.wire import Answer, Refusal

API_VERSION = "2010-04-01"
BODY_MAX = 1600
VALIDITY_S_MAX = 36_000
E164 = re.compile(r"\+[1-9]\d{6,14}")
SID = re.compile(r"[A-Z]{2}[0-9a-f]{32}")

STOP_WORDS = frozenset({"STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT"})
START_WORDS = frozenset({"START", "YES", "UNSTOP"})
HELP_WORDS = frozenset({"HELP", "INFO"})
REPLIES = {
    "STOP": "You are unsubscribed and get no more messages from this number. Reply START to get them again.",
    "START": "You are subscribed again and get messages from this number. Reply HELP for help or STOP to end them.",
    "HELP": "Reply STOP to get no more messages from this number. Msg and data rates may apply.",
}

_AT_CREATE = {
    20003: (401, "Authenticate"),
    20004: (405, "Method not allowed"),
    20404: (404, "The requested resource {0} was not found"),
    20429: (429, "Too Many Requests"),
    20500: (500, "An internal server error has occurred"),
    21211: (400, "Invalid 'To' Phone Number: {0}"),
    21212: (400, "Invalid From Number (caller ID): {0}"),
    21408: (400, "Permission to send an SMS has not been enabled for the region indicated by the 'To' number: {0}"),
    21602: (400, "Message body is required."),
    21603: (400, "A 'From' phone number is required."),
    21604: (400, "A 'To' phone number is required."),
    21606: (400, "The 'From' phone number {0} is not a valid, message-capable Twilio phone number for this account."),
    21608: (400, "The number {0} is unverified. Trial accounts cannot send messages to unverified numbers."),
    21609: (400, "The 'StatusCallback' URL {0} is not a valid URL."),
    21610: (400, "Attempt to send to unsubscribed recipient"),
    21612: (400, "The 'To' phone number {0} cannot be reached by the given 'From' or Messaging Service."),
    21614: (400, "'To' number is not a valid mobile number: {0}"),
    21617: (400, "The concatenated message body exceeds the 1600 character limit"),
    21624: (400, "Invalid validity period value"),
    21635: (400, "'To' number cannot be a landline: {0}"),
    21701: (400, "The Messaging Service {0} does not exist."),
    21703: (400, "The Messaging Service {0} does not have a phone number available to send a message."),
    21712: (400, "The number {0} does not belong to the Messaging Service."),
    30409: (409, "The message is not scheduled and cannot be canceled."),
    35111: (400, "SendAt timestamp is missing"),
    35114: (400, "SendAt time must be between 300 seconds and 35 days (3024000 seconds) in the future, inclusive"),
    35118: (400, "MessagingServiceSid is required to schedule a message"),
    35126: (400, "The ScheduleType value provided is not supported for this channel"),
}
AFTER = {
    30001: "Queue overflow",
    30003: "Unreachable destination handset",
    30004: "Message blocked",
    30005: "Unknown destination handset",
    30006: "Landline or unreachable carrier",
    30007: "Message filtered",
    30008: "Unknown error",
    30036: "Validity Period Expired",
    63014: "Blocked by user",
}
"""What can become of a message after it was taken, by its error code."""
DEAD_CODES = frozenset(AFTER) | {21211, 21408, 21608, 21612, 21614, 21635}
"""What the number of a dead address can answer: 21… at once, the others in a receipt."""


def error(code: int, *about: str, status: int = 0, message: str = "") -> Answer:
    """The vendor's error body; `about` fills the sentence, `status` and `message` replace the usual ones."""
    usual, sentence = _AT_CREATE.get(code, (status or 500, "An internal server error has occurred"))
    status = status or usual
    body = {
        "code": code,
        "message": message or sentence.format(*about),
        "more_info": f"https://www.twilio.com/docs/errors/{code}",
        "status": status,
    }
    return Answer(status, msgspec.json.encode(body))


def refused(code: int, *about: str) -> Refusal:
    return Refusal(error(code, *about))


def of_status(status: int, path: str) -> Answer:
    """An error that only has an HTTP status."""
    code = {401: 20003, 404: 20404, 405: 20004, 429: 20429}.get(status, 20500 if status >= 500 else 20001)
    answer = error(code, path, status=status, message="" if code in _AT_CREATE else "Invalid request")
    if status == 429:
        return msgspec.structs.replace(answer, headers={"Twilio-Concurrent-Requests": "100"})
    return answer


def word_of(text: str) -> str:
    """STOP, START, HELP or nothing: only a message that is one such word alone counts."""
    word = text.strip().upper()
    if word in STOP_WORDS:
        return "STOP"
    if word in START_WORDS:
        return "START"
    return "HELP" if word in HELP_WORDS else ""


_GSM = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_GSM_TWICE = frozenset("^{}\\[~]|€\f")


def segments(text: str) -> int:
    """How many SMS the text takes: 160 GSM-7 characters or 70 UCS-2 units, 153 or 67 each once there are several."""
    if all(one in _GSM or one in _GSM_TWICE for one in text):
        size, alone, each = len(text) + sum(one in _GSM_TWICE for one in text), 160, 153
    else:
        size, alone, each = len(text.encode("utf-16-be")) // 2, 70, 67
    return 1 if size <= alone else -(-size // each)


def signature(auth_token: str, url: str, params: Iterable[tuple[str, str]]) -> str:
    """X-Twilio-Signature of a form webhook: base64 HMAC-SHA1 over the URL and the sorted names and values."""
    text = url + "".join(name + value for name, value in sorted(set(params)))
    return base64.b64encode(hmac.new(auth_token.encode(), text.encode(), hashlib.sha1).digest()).decode()


def rfc_2822(at: float) -> str:
    return format_datetime(dt.datetime.fromtimestamp(int(at), dt.UTC))


def done_date(at: float) -> str:
    """RawDlrDoneDate: `YYMMDDhhmm`."""
    return dt.datetime.fromtimestamp(int(at), dt.UTC).strftime("%y%m%d%H%M")


def moment(given: str) -> tuple[float, float] | None:
    """(first, last) unix second of a DateSent value, a day or an instant; None when it is neither."""
    try:
        if re.fullmatch(r"\d{4}-\d\d-\d\d", given):
            start = dt.datetime.fromisoformat(given).replace(tzinfo=dt.UTC).timestamp()
            return start, start + 86_399
        at = dt.datetime.fromisoformat(given)
        start = (at if at.tzinfo else at.replace(tzinfo=dt.UTC)).timestamp()
        return start, start
    except (ValueError, OverflowError):
        return None


def retries_of(url: str) -> tuple[str, tuple[float, ...], frozenset[str], float, float]:
    """What a webhook URL's fragment asks of its delivery: (URL without it, waits, what is retried, connect_s, read_s).

    One retry, and only where nobody took the connection, unless `rc` and `rp` say otherwise.
    """
    bare, _, fragment = url.partition("#")
    wanted: Mapping[str, str] = dict(part.partition("=")[::2] for part in fragment.split("&") if "=" in part)

    def number(name: str, default: int, high: int) -> int:
        given = wanted.get(name, "")
        return min(int(given), high) if given.isascii() and given.isdigit() else default

    words = {"ct": "connect", "rt": "late", "4xx": "4xx", "5xx": "5xx", "all": "all"}
    policy = frozenset(words[word] for word in wanted.get("rp", "ct").split(",") if word in words)
    waits = tuple(0.1 * 2**turn for turn in range(number("rc", 1, 5)))
    return bare, waits, policy, number("ct", 5_000, 10_000) / 1000, number("rt", 15_000, 15_000) / 1000


def page_of(messages: list[dict[str, Any]], page: int, size: int, more: bool, uri: str, query: str) -> dict[str, Any]:
    """The list document around one page of messages; `query` is what follows the page's own parameters."""

    def link(number: int) -> str:
        return f"{uri}?PageSize={size}&Page={number}" + (f"&{query}" if query else "")

    return {
        "messages": messages,
        "page": page,
        "page_size": size,
        "start": page * size,
        "end": max(page * size + len(messages) - 1, 0),
        "first_page_uri": link(0),
        "next_page_uri": link(page + 1) if more else None,
        "previous_page_uri": link(page - 1) if page else None,
        "uri": link(page),
    }
