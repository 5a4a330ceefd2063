"""Secrets that others may carry or keep without reading them: at rest under a box's own key (`Sealer`), so that a copy of the books alone does not
tell them; and on their way to a box (`seal_to`, `SealKey`), so that no broker, log or stream does (pass-4).

Not for what everybody on the link may read. Invariant: what was sealed about one thing does not open as another's, and what was changed does not
open at all. At rest it is deterministic (AES-SIV), so the same secret about the same thing looks the same; on the way each has a key of its own.

The only file that imports `cryptography`'s ciphers and X25519. No clock, no I/O, no randomness: seeds come in.
"""

from __future__ import annotations

import base64
import binascii
import hashlib

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

SEED_BYTES = 32
_DOMAIN, _TO_DOMAIN = b"clubos.sealing.v1\0", b"clubos.sealing.to.v1\0"
#: what the owner's signing key says of a `SealKey`'s public half
SEAL_KEY_DOMAIN = b"clubos.sealkey.v1\0"
_PUBLIC_BYTES = 32


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


class SealKey:
    """What is sealed to a box opens with it alone. `seed`: 32 secret bytes, kept by the box. `public` is told to whoever seals (base64)."""

    def __init__(self, seed: bytes):
        if len(seed) != SEED_BYTES:
            raise ValueError(f"A seed has {SEED_BYTES} bytes, not {len(seed)}.")
        self._private = X25519PrivateKey.from_private_bytes(hashlib.sha256(_TO_DOMAIN + seed).digest())
        self._raw = self._private.public_key().public_bytes_raw()
        self.public = base64.b64encode(self._raw).decode()

    def __repr__(self) -> str:
        return f"SealKey({self.public})"

    def open(self, sealed: str, about: str) -> str:
        """What was sealed to us. Raises NotOpened."""
        try:
            blob = base64.urlsafe_b64decode(sealed.encode())
            theirs = X25519PublicKey.from_public_bytes(blob[:_PUBLIC_BYTES])
            cipher = _cipher_of(self._private.exchange(theirs), blob[:_PUBLIC_BYTES], self._raw)
            return cipher.decrypt(blob[_PUBLIC_BYTES:], [about.encode()]).decode()
        except (InvalidTag, ValueError, binascii.Error):
            raise NotOpened("A sealed secret does not open: it is damaged, or it was sealed to another box.") from None


def seal_to(public: str, text: str, about: str, seed: bytes) -> str:
    """`text` so that only the box of this public key reads it, and only as said `about` that thing. `seed`: 32 bytes of chance, for this one only.
    Base64url. ValueError for what is no key, no seed or no text."""
    if not text or len(seed) != SEED_BYTES:
        raise ValueError("Sealing needs a text and a seed.")
    raw = base64.b64decode(public, validate=True)
    mine = X25519PrivateKey.from_private_bytes(seed)
    my_raw = mine.public_key().public_bytes_raw()
    cipher = _cipher_of(mine.exchange(X25519PublicKey.from_public_bytes(raw)), my_raw, raw)
    return base64.urlsafe_b64encode(my_raw + cipher.encrypt(text.encode(), [about.encode()])).decode()


def raw_of(public: str) -> bytes:
    """The bytes of a public key, which its owner signs. ValueError for what is none."""
    raw = base64.b64decode(public, validate=True)
    if len(raw) != _PUBLIC_BYTES:
        raise ValueError("A key to seal to has 32 bytes.")
    return raw


def _cipher_of(secret: bytes, sender: bytes, receiver: bytes) -> AESSIV:
    return AESSIV(hashlib.sha512(_TO_DOMAIN + secret + sender + receiver).digest())
