"""The customer's own page by an unguessable link: no account, no session, nothing kept.

Invariant: a token is 128 bits of HMAC-SHA-256 over the order's id under a secret of this hub, compared in constant time; whoever has the
link of one order has learned nothing about any other.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

_DOMAIN, _VISITOR = b"clubos.order-link.v1\0", b"clubos.visitor.v1\0"
TOKEN_BYTES = 16
VISITOR_MARK = 12  # hexadecimal digits


class CustomerLinks:
    """`secret`: at least 32 bytes that only this hub has."""

    def __init__(self, secret: bytes):
        if len(secret) < 32:
            raise ValueError("The secret of customer links needs at least 32 bytes.")
        self._secret = secret

    def token(self, order_id: str) -> str:
        """22 characters, safe in an address."""
        mac = hmac.new(self._secret, _DOMAIN + order_id.encode(), hashlib.sha256).digest()[:TOKEN_BYTES]
        return base64.urlsafe_b64encode(mac).rstrip(b"=").decode()

    def visitor_mark(self, visitor: str, chance: str) -> str:
        """12 hexadecimal digits that say, to this hub alone, for which visitor something was begun. `visitor`: a cookie's value."""
        return hmac.new(self._secret, _VISITOR + f"{chance}\0{visitor}".encode(), hashlib.sha256).hexdigest()[:VISITOR_MARK]

    def opens(self, order_id: str, token: str) -> bool:
        """Whether this token is the order's. Any text is answered, none raises."""
        given = token.encode("utf-8", "replace")
        return hmac.compare_digest(self.token(order_id).encode(), given)
