"""Where a customer is written to, as vendors want it: numbers as E.164, mail in small letters.

Invariant: what is returned can be sent to as it stands; what a customer has given and cannot be is no address.
"""

from __future__ import annotations

import re

from shared.model import Customer

#: the North American plan, whose numbers people write without their country
HOME = "1"
_MAIL = re.compile(r"[^@\s<>()\",;:\\]{1,64}@[^@\s<>()\",;:\\]{1,190}\.[^@\s.<>()\",;:\\]{2,63}")


def e164(phone: str) -> str:
    """`+` and 8 to 15 digits; "" for what is no number that a message reaches. Ten digits are a number at home."""
    digits = "".join(ch for ch in phone if ch.isascii() and ch.isdigit())
    if phone.strip().startswith("+"):
        return f"+{digits}" if 8 <= len(digits) <= 15 and not digits.startswith("0") else ""
    if len(digits) == 10 and digits[0] in "23456789" and digits[3] in "23456789":
        return f"+{HOME}{digits}"
    return f"+{digits}" if len(digits) == 11 and digits.startswith(HOME) else ""


def mail_of(email: str) -> str:
    """The address in small letters; "" for what is none."""
    text = email.strip().lower()
    return text if _MAIL.fullmatch(text) else ""


def address_of(customer: Customer, channel: str) -> str:
    """Where this customer hears by `sms` or `mail`; "" where he does not."""
    return {"sms": e164(customer.phone), "mail": mail_of(customer.email)}.get(channel, "")
