"""Secrets at rest: a text sealed under a box's own key, so that a copy of the books alone does not tell it (pass-4).

Not for what travels: the link has its own protection. Invariant: what was sealed about one thing does not open as another's, and what was
changed does not open at all. Deterministic (AES-SIV), so no randomness is needed and the same secret about the same thing looks the same.

The only file that imports `cryptography`'s ciphers. No clock, no I/O: the seed comes in from `runtime.keyfile`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

SEED_BYTES = 32
_DOMAIN = b"clubos.sealing.v1\0"


class NotOpened(ValueError):
    """The sealed text is damaged, was sealed about something else, or under another key."""


class Sealer:
    """`seed`: 32 secret bytes. One sealer per box."""

    def __init__(self, seed: bytes):
        if len(seed) != SEED_BYTES:
            raise ValueError(f"A seed has {SEED_BYTES} bytes, not {len(seed)}.")
        self._cipher = AESSIV(hashlib.sha512(_DOMAIN + seed).digest())

    def seal(self, text: str, about: str) -> str:
        """`text` so that only this box reads it, and only as said `about` that thing. Base64url. ValueError for an empty text."""
        if not text:
            raise ValueError("There is nothing to seal.")
        return base64.urlsafe_b64encode(self._cipher.encrypt(text.encode(), [about.encode()])).decode()

    def open(self, sealed: str, about: str) -> str:
        """What was sealed. Raises NotOpened."""
        try:
            return self._cipher.decrypt(base64.urlsafe_b64decode(sealed.encode()), [about.encode()]).decode()
        except (InvalidTag, ValueError, binascii.Error):
            raise NotOpened("A sealed secret does not open: it is damaged, or this box's key is not the one it was sealed under.") from None
