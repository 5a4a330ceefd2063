"""One mail as a customer's mailbox holds it, whichever vendor brought it.

Not for: sending. Invariant: an entry belongs to one recipient.
"""

import msgspec

MAILS_MAX = 20_000
"""Mails kept per vendor; beyond it the oldest go."""


class Mail(msgspec.Struct, kw_only=True):
    """One mail to one recipient. `vendor_id`: X-Message-Id of SendGrid or Message-ID of SMTP; `args`: custom args; times in unix seconds."""

    id: str
    vendor: str
    to: str
    sender: str
    subject: str
    text: str
    html: str
    at: float
    state: str
    vendor_id: str = ""
    reason: str = ""
    sender_name: str = ""
    headers: dict[str, str] = {}
    args: dict[str, str] = {}
    categories: tuple[str, ...] = ()
    attachments: tuple[str, ...] = ()
