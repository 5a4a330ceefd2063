"""Ed25519 keys: who signs, who is believed, and until when (pass-1). What is signed is known by `passes` and `quotes`, not here.

Invariant: a key that was withdrawn is never believed again, however often a peer announces it; and what one kind of document was signed
with cannot pass for another kind, because every signature covers a domain that ends in a NUL byte.

The only file that imports `cryptography`'s Ed25519. No clock, no randomness: seeds come in from `runtime.keyfile`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Collection, Iterable, Sequence
from typing import Literal

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from shared.model import Frozen, Side
from shared.sealing import SEAL_KEY_DOMAIN, raw_of

SEED_BYTES = 32
SIGNATURE_BYTES = 64
KEY_ID_HEX = 16

#: why a key is not believed; empty when it is
Problem = Literal["", "unknown", "withdrawn", "other_site"]


class BadKey(ValueError):
    """A public key that a ring does not take: malformed, under a false id, or claimed for two sides."""


class PublicKey(Frozen):
    """One side's public key, as it travels in hello and is kept.

    `raw_b64` is the 32 byte key in base64; `id` the first 16 hex digits of its SHA-256. `site_id` empty means that the key may sign for
    every site (the hub's). `not_after` in unix seconds: nothing that ends later is believed; 0 means no end yet. `withdrawn` is for good.
    """

    id: str
    raw_b64: str
    side: Side
    site_id: str = ""
    not_after: int = 0
    withdrawn: bool = False


def id_of(raw: bytes) -> str:
    """The id of a raw public key: the first 16 hex digits of its SHA-256."""
    return hashlib.sha256(raw).hexdigest()[:KEY_ID_HEX]


class SigningKey:
    """A private key with its id. Its text form shows the id only, so that it cannot reach a log."""

    __slots__ = ("_raw", "id", "private")

    def __init__(self, id: str, private: Ed25519PrivateKey):
        self.id = id
        self.private = private
        self._raw = private.public_key().public_bytes_raw()  # told in every hello

    def __repr__(self) -> str:
        return f"SigningKey({self.id})"

    @classmethod
    def from_seed(cls, seed: bytes) -> SigningKey:
        """The key that 32 secret bytes make, always the same one. ValueError for any other length."""
        if len(seed) != SEED_BYTES:
            raise ValueError(f"A signing key is made of {SEED_BYTES} bytes, not {len(seed)}.")
        private = Ed25519PrivateKey.from_private_bytes(seed)
        return cls(id_of(private.public_key().public_bytes_raw()), private)

    def sign(self, domain: bytes, payload: bytes) -> bytes:
        """64 bytes over `domain + payload`; the domain ends in NUL, so that no domain is the beginning of another."""
        return self.private.sign(_ending_in_nul(domain) + payload)

    def public(self, side: Side, site_id: str = "") -> PublicKey:
        """What the peer is told of this key."""
        return PublicKey(id=self.id, raw_b64=base64.b64encode(self._raw).decode(), side=side, site_id=site_id)


class KeyRing:
    """The public keys that are believed, with those that no longer are. Never changes: every change makes another ring.

    `KeyRing(keys)` raises BadKey as `add` does. Keep `ring.keys` to be able to build the same ring again.
    """

    __slots__ = ("_keys", "_loaded")

    def __init__(self, keys: Iterable[PublicKey] = ()):
        self._keys: dict[str, PublicKey] = {}
        self._loaded: dict[str, Ed25519PublicKey] = {}
        for key in keys:
            self._take(key)

    @property
    def keys(self) -> tuple[PublicKey, ...]:
        return tuple(self._keys.values())

    def find(self, key_id: str) -> PublicKey | None:
        return self._keys.get(key_id)

    def add(self, *keys: PublicKey) -> KeyRing:
        """A ring that also believes `keys`. Of a key already known the stricter facts are kept: a replayed hello brings nothing back.

        BadKey if one is malformed, its id is not the id of its bytes, or it is known as the key of another side or site.
        """
        return KeyRing((*self.keys, *keys))

    def withdraw(self, key_id: str, last_end_at: int) -> KeyRing:
        """The orderly end: the key stays good for what ends by `last_end_at` (unix seconds), the end of the last pass it signed."""
        not_after = max(last_end_at, 1)  # 0 would say that there is no end
        return self.add(msgspec.structs.replace(self._known(key_id), not_after=not_after))

    def withdraw_now(self, key_id: str) -> KeyRing:
        """On compromise: from here on nothing signed with it is believed, whatever it signed before."""
        return self.add(msgspec.structs.replace(self._known(key_id), withdrawn=True))

    def problem(self, key_id: str, *, site_id: str, until_at: int) -> Problem:
        """Why this key may not speak for a document of `site_id` that ends at `until_at` (unix seconds); empty if it may.

        Needs no clock: an ended key is good for exactly the documents that end within its time.
        """
        key = self._keys.get(key_id)
        if key is None:
            return "unknown"
        if key.withdrawn or (key.not_after and until_at > key.not_after):
            return "withdrawn"
        return "" if key.site_id in ("", site_id) else "other_site"

    def verifies(self, key_id: str, domain: bytes, payload: bytes, signature: bytes) -> bool:
        """Whether the key of that id signed this payload in this domain. False for an unknown key; `problem` says if it may."""
        loaded = self._loaded.get(key_id)
        if loaded is None:
            return False
        try:
            loaded.verify(signature, _ending_in_nul(domain) + payload)
        except InvalidSignature:
            return False
        return True

    def _known(self, key_id: str) -> PublicKey:
        key = self._keys.get(key_id)
        if key is None:
            raise BadKey(f"There is no key {key_id!r} to withdraw.")
        return key

    def _take(self, key: PublicKey) -> None:
        known = self._keys.get(key.id)
        if known is None:
            self._loaded[key.id] = _load(key)
            self._keys[key.id] = key
            return
        if (known.raw_b64, known.side, known.site_id) != (key.raw_b64, key.side, key.site_id):
            raise BadKey(f"The key {key.id} is known as the {known.side}'s and cannot be announced as another's.")
        self._keys[key.id] = msgspec.structs.replace(
            known, withdrawn=known.withdrawn or key.withdrawn, not_after=_earlier(known.not_after, key.not_after)
        )


def to_sign_with(mine: Sequence[SigningKey], acknowledged: Collection[str]) -> SigningKey | None:
    """The newest (last) of my keys that the site has acknowledged (pass-1): only such a pass opens its door. None when there is none."""
    return next((key for key in reversed(mine) if key.id in acknowledged), None)


def sealed_by(key: SigningKey, public: str) -> tuple[str, str, str]:
    """What a hello says of a key to seal to (`shared.sealing`): the key, and who vouches for it. ValueError for what is no key."""
    return public, key.id, base64.b64encode(key.sign(SEAL_KEY_DOMAIN, raw_of(public))).decode()


def may_seal_to(told: Sequence[str], ring: KeyRing) -> str:
    """The key to seal to that a peer's hello names, if a key of the hub's that is believed vouches for it; empty otherwise."""
    try:
        public, key_id, signature = told
        raw, signed = raw_of(public), base64.b64decode(signature, validate=True)
    except ValueError:
        return ""
    key = ring.find(key_id)
    if key is None or key.side != "hub" or key.withdrawn:
        return ""
    return public if ring.verifies(key_id, SEAL_KEY_DOMAIN, raw, signed) else ""


def _load(key: PublicKey) -> Ed25519PublicKey:
    try:
        raw = base64.b64decode(key.raw_b64, validate=True)
        loaded = Ed25519PublicKey.from_public_bytes(raw)
    except (binascii.Error, ValueError) as error:
        raise BadKey(f"The public key announced as {key.id!r} is not 32 bytes in base64.") from error
    if base64.b64encode(raw).decode() != key.raw_b64 or id_of(raw) != key.id:
        raise BadKey(f"The public key announced as {key.id!r} has another id.")
    return loaded


def _earlier(one: int, other: int) -> int:
    """The earlier of two ends, where 0 means that there is none."""
    return min(one, other) if one and other else one or other


def _ending_in_nul(domain: bytes) -> bytes:
    if not domain.endswith(b"\0") or domain.count(b"\0") != 1:
        raise ValueError("A signing domain ends in its only NUL byte.")
    return domain
