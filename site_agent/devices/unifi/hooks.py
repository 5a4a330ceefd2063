"""Whether a call to us is the controller's own: its webhooks are signed with a secret that it made when they were set up.

Not for: what a call says. It bears no time of its event by which it could be told from the log's row, so it is a hint to look at the log and no
event. Invariant: pure; no call passes that is not signed with the secret, or older than `AGE_MAX_S` either way.
"""

import hashlib
import hmac

#: the printed samples check no age; without one, a call that somebody recorded would be good for ever
AGE_MAX_S = 300


def signed(secret: str, signature: str, body: bytes, now: float) -> bool:
    """Whether the header `Signature: t=<unix seconds>,v1=<hex>` (blanks allowed) is the controller's for this body."""
    parts = dict(part.strip().partition("=")[::2] for part in signature.split(","))
    at, given = parts.get("t", ""), parts.get("v1", "")
    if not secret or not at.isascii() or not at.isdigit() or len(at) > 12 or not given.isascii():
        return False
    wanted = hmac.new(secret.encode(), at.encode() + b"." + body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(wanted, given.lower()) and abs(now - int(at)) <= AGE_MAX_S
