"""What SendGrid asks of the body of mail/send, and what it says to one that falls short.

Not for: sending. Pure. Invariant: whatever passes here has recipients, a sender, a subject and content of the right kinds.
"""

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from deploy.emulators.messages.wire import Answer, Refusal

PERSONALIZATIONS_MAX = 1000
RECIPIENTS_MAX = 1000
CATEGORIES_MAX = 10
CATEGORY_MAX = 255
CUSTOM_ARGS_BYTES_MAX = 10_000
SEND_AHEAD_S_MAX = 72 * 3600
ADDRESS = re.compile(r"[^@\s<>\"]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")
TEMPLATE = re.compile(r"d-[0-9a-f]{32}")
RESERVED_HEADERS = frozenset(
    {
        "x-sg-id", "x-sg-eid", "received", "dkim-signature", "content-type", "content-transfer-encoding", "to", "from", "subject",
        "reply-to", "cc", "bcc",
    }
)  # fmt: skip
_TOP: dict[str, type | tuple[type, ...]] = {
    "personalizations": list, "from": dict, "reply_to": dict, "reply_to_list": list, "subject": str, "content": list, "attachments": list,
    "template_id": str, "headers": dict, "categories": list, "custom_args": dict, "send_at": int, "batch_id": str, "asm": dict,
    "ip_pool_name": str, "mail_settings": dict, "tracking_settings": dict, "sections": dict,
}  # fmt: skip
_PERSONAL: dict[str, type | tuple[type, ...]] = {
    "to": list, "cc": list, "bcc": list, "from": dict, "subject": str, "headers": dict, "substitutions": dict,
    "dynamic_template_data": dict, "custom_args": dict, "send_at": int,
}  # fmt: skip
_KINDS = {list: "array", dict: "object", str: "string", int: "integer"}


def errors(status: int, *told: tuple[str, str | None]) -> Answer:
    """The vendor's error body of (message, field) pairs."""
    return Answer(status, msgspec.json.encode({"errors": [{"message": text, "field": field, "help": None} for text, field in told]}))


def refused(message: str, field: str | None = None, status: int = 400) -> Refusal:
    return Refusal(errors(status, (message, field)))


def of_status(status: int, path: str) -> Answer:
    """An error that only has an HTTP status."""
    if status == 429:
        return Answer(429, b'{"errors":[{"field":null,"message":"too many requests"}]}')
    words = {
        401: "The provided authorization grant is invalid, expired, or revoked",
        403: "access forbidden",
        404: "Not Found",
        405: "method not allowed",
        413: "The message is too large",
        415: "Content-Type should be application/json.",
    }
    return errors(status, (words.get(status, "internal server error" if status >= 500 else "Bad Request"), None))


def check(mail: Any, now: float) -> None:
    """Refusal (400) when mail/send would not take this body."""
    if not isinstance(mail, dict):
        raise refused("Bad Request")
    _typed(mail, _TOP, "")
    _personalizations(mail, now)
    if "from" not in mail:
        raise refused(
            "The from object must be provided for every email send. It is an object that requires the email parameter.", "from.email"
        )
    _address(mail["from"], "from")
    for name, each in _addresses_of_replies(mail):
        _address(each, name)
    _content(mail)
    _template(mail)
    _categories(mail.get("categories", []))
    _strings(mail.get("custom_args", {}), "custom_args")
    _headers(mail.get("headers", {}), "headers")
    _send_at(mail, "", now)
    _attachments(mail.get("attachments", []))


def _typed(values: dict[str, Any], kinds: dict[str, type | tuple[type, ...]], prefix: str) -> None:
    for name, value in values.items():
        kind = kinds.get(name)
        if kind is None:
            raise refused(f"Additional property {name} is not allowed", (prefix + name) or None)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise refused(f"Invalid type. Expected: {_KINDS[kind]}, given: {_kind_of(value)}.", prefix + name)  # type: ignore[index]


def _kind_of(value: object) -> str:
    if value is None or isinstance(value, bool):
        return "null" if value is None else "boolean"
    return next((word for kind, word in _KINDS.items() if isinstance(value, kind)), "number")


def _personalizations(mail: dict[str, Any], now: float) -> None:
    given = mail.get("personalizations", [])
    if not given:
        raise refused("The personalizations field is required and must have at least one personalization.", "personalizations")
    if len(given) > PERSONALIZATIONS_MAX:
        raise refused(f"You may not have more than {PERSONALIZATIONS_MAX} personalizations.", "personalizations")
    count = 0
    for index, each in enumerate(given):
        prefix = f"personalizations.{index}."
        if not isinstance(each, dict):
            raise refused(f"Invalid type. Expected: object, given: {_kind_of(each)}.", prefix[:-1])
        _typed(each, _PERSONAL, prefix)
        if not each.get("to"):
            raise refused(
                "The to array is required for all personalization objects, and must have at least one email object.", f"{prefix}to"
            )
        count += _recipients(each, prefix)
        if "subject" in each and not each["subject"]:
            raise refused("The subject must be at least one character long.", f"{prefix}subject")
        _strings(each.get("custom_args", {}), f"{prefix}custom_args")
        _headers(each.get("headers", {}), f"{prefix}headers")
        _send_at(each, prefix, now)
    if count > RECIPIENTS_MAX:
        raise refused(f"The total number of recipients must be no more than {RECIPIENTS_MAX}.", "personalizations")
    with_subject = mail.get("subject") or all(each.get("subject") for each in given)
    if not with_subject and not mail.get("template_id"):
        raise refused(
            "The subject is required. You can get around this requirement if you use a template with a subject defined or if every "
            "personalization has a subject defined.",
            "subject",
        )


def _recipients(each: dict[str, Any], prefix: str) -> int:
    seen: set[str] = set()
    for name in ("to", "cc", "bcc"):
        for index, one in enumerate(each.get(name, [])):
            address = _address(one, f"{prefix}{name}.{index}").lower()
            if address in seen:
                raise refused(
                    "Each email address in the personalization block should be unique between to, cc, and bcc. "
                    f"We found the first duplicate instance of [{address}] in the {prefix}{name} field.",
                    prefix[:-1],
                )
            seen.add(address)
    return len(seen)


def _address(one: Any, field: str) -> str:
    if not isinstance(one, dict) or not isinstance(one.get("email"), str) or not ADDRESS.fullmatch(one["email"]):
        raise refused("Does not contain a valid address.", f"{field}.email")
    if not isinstance(one.get("name", ""), str):
        raise refused(f"Invalid type. Expected: string, given: {_kind_of(one['name'])}.", f"{field}.name")
    return one["email"]


def _addresses_of_replies(mail: dict[str, Any]) -> Iterable[tuple[str, Any]]:
    if "reply_to" in mail and "reply_to_list" in mail:
        raise refused("The reply_to and reply_to_list parameters are mutually exclusive.", "reply_to")
    if "reply_to" in mail:
        yield "reply_to", mail["reply_to"]
    for index, each in enumerate(mail.get("reply_to_list", [])):
        yield f"reply_to_list.{index}", each


def _content(mail: dict[str, Any]) -> None:
    parts = mail.get("content", [])
    if not parts and not mail.get("template_id"):
        raise refused(
            "Unless a valid template_id is provided, the content parameter is required. There must be at least one defined content block. "
            "We typically suggest both text/plain and text/html blocks are included, but only one block is required.",
            "content",
        )
    kinds = []
    for index, part in enumerate(parts):
        if not isinstance(part, dict) or not isinstance(part.get("type"), str) or not part["type"]:
            raise refused("The content type is required and must be a string.", f"content.{index}.type")
        if not isinstance(part.get("value"), str) or not part["value"]:
            raise refused("The content value must be a string at least one character in length.", f"content.{index}.value")
        kinds.append(part["type"])
    if len(set(kinds)) != len(kinds):
        raise refused("The content types must be unique.", "content")
    if "text/plain" in kinds[1:] or ("text/html" in kinds and kinds.index("text/html") > 1):
        raise refused("If present, text/plain must be the first content, followed by text/html, followed by any others.", "content")


def _template(mail: dict[str, Any]) -> None:
    if "template_id" in mail and not TEMPLATE.fullmatch(mail["template_id"]):
        raise refused("The template_id must be a valid GUID.", "template_id")


def _categories(given: list[Any]) -> None:
    if len(given) > CATEGORIES_MAX:
        raise refused(f"You cannot have more than {CATEGORIES_MAX} categories.", "categories")
    if any(not isinstance(one, str) or not 0 < len(one) <= CATEGORY_MAX for one in given):
        raise refused(f"A category must be a string of 1 to {CATEGORY_MAX} characters.", "categories")
    if len(set(given)) != len(given):
        raise refused("The categories must be unique.", "categories")


def _strings(given: dict[str, Any], field: str) -> None:
    for name, value in given.items():
        if not isinstance(value, str):
            raise refused(f"Invalid type. Expected: string, given: {_kind_of(value)}.", f"{field}.{name}")
    if len(msgspec.json.encode(given)) > CUSTOM_ARGS_BYTES_MAX:
        raise refused(f"The custom_args may not exceed {CUSTOM_ARGS_BYTES_MAX} bytes.", field)


def _headers(given: dict[str, Any], field: str) -> None:
    for name, value in given.items():
        if name.lower() in RESERVED_HEADERS:
            raise refused(f"The {name} header is a reserved header and cannot be used.", f"{field}.{name}")
        if not isinstance(value, str):
            raise refused(f"Invalid type. Expected: string, given: {_kind_of(value)}.", f"{field}.{name}")


def _send_at(values: dict[str, Any], prefix: str, now: float) -> None:
    if values.get("send_at", 0) > now + SEND_AHEAD_S_MAX:
        raise refused("The send_at parameter cannot be more than 72 hours in the future.", f"{prefix}send_at")


def _attachments(given: list[Any]) -> None:
    for index, one in enumerate(given):
        for name in ("content", "filename"):
            if not isinstance(one, dict) or not isinstance(one.get(name), str) or not one[name]:
                raise refused(f"The attachment {name} is required and must be a string.", f"attachments.{index}.{name}")
