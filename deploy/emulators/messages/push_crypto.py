"""What a push service and a browser check of a message: the sender's VAPID token (RFC 8292) and the sealed content (RFC 8188, RFC 8291).

Not for: sending. Pure but for the keys it makes. Written from the RFCs and not with the library that seals, so that the two check each other.
"""

import base64
import binascii
from random import Random
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

EXPIRES_S_MAX = 24 * 3600
_HEAD = 16 + 4 + 1
_POINT = 65
_TAG = 16


class BadVapid(Exception):
    """The token does not show who sends; the message is a sentence, `status` the answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Unreadable(Exception):
    """The content cannot be opened with this subscription's keys; the message is a sentence."""


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def unb64(text: str) -> bytes:
    """ValueError for what is not base64url."""
    try:
        return base64.b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError(f"This is not base64url: {error}.") from error


def point_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The public key as an uncompressed point, 65 bytes."""
    return key.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)


def private_key(raw: bytes) -> ec.EllipticCurvePrivateKey:
    """A P-256 key from its 32 bytes; ValueError for what is none."""
    return ec.derive_private_key(int.from_bytes(raw), ec.SECP256R1())


def new_vapid_key(rng: Random) -> str:
    """A private key by which an application server is known to push services: 32 bytes, base64url."""
    return b64((rng.getrandbits(248) + 1).to_bytes(32))


def check_vapid(authorization: str, origin: str, now: float) -> tuple[str, dict[str, Any]]:
    """(the sender's key, the claims) of `vapid t=..., k=...`; BadVapid says what is wrong."""
    kind, _, rest = authorization.partition(" ")
    parts = dict(part.strip().partition("=")[::2] for part in rest.split(","))
    if kind.lower() != "vapid" or "t" not in parts or "k" not in parts:
        raise BadVapid(401, "The request needs an Authorization of the kind vapid, with t and k.")
    try:
        head, claims, signed, key = _token(parts["t"], parts["k"])
        raw = unb64(signed)
        signature = encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:]))
        key.verify(signature, ".".join(parts["t"].split(".")[:2]).encode(), ec.ECDSA(hashes.SHA256()))
    except (ValueError, msgspec.DecodeError, InvalidSignature) as error:
        raise BadVapid(403, "The VAPID token is not validly signed with its key.") from error
    if head.get("alg") != "ES256" or len(raw) != 64:
        raise BadVapid(403, "The VAPID token must be signed with ES256.")
    if claims.get("aud") != origin:
        raise BadVapid(403, f"The VAPID token is for {claims.get('aud')}, this is {origin}.")
    expires = claims.get("exp")
    if not isinstance(expires, int | float) or not now < expires <= now + EXPIRES_S_MAX:
        raise BadVapid(403, "The VAPID token has expired, or expires more than 24 hours ahead.")
    if not str(claims.get("sub", "")).startswith(("mailto:", "https://")):
        raise BadVapid(403, "The VAPID token names no contact (sub).")
    return parts["k"].rstrip("="), claims


def _token(token: str, key: str) -> tuple[dict[str, Any], dict[str, Any], str, ec.EllipticCurvePublicKey]:
    head, claims, signed = token.split(".")
    public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), unb64(key))
    kind = dict[str, Any]
    return msgspec.json.decode(unb64(head), type=kind), msgspec.json.decode(unb64(claims), type=kind), signed, public


def opened(body: bytes, key: ec.EllipticCurvePrivateKey, secret: bytes) -> bytes:
    """The content of one aes128gcm message for this subscription; Unreadable when it is not for it."""
    if len(body) < _HEAD + _POINT + _TAG + 1 or body[_HEAD - 1] != _POINT:
        raise Unreadable("The content is no aes128gcm message with the sender's key in front.")
    salt, record_size, sender = body[:16], int.from_bytes(body[16:20]), body[_HEAD : _HEAD + _POINT]
    sealed = body[_HEAD + _POINT :]
    if record_size < 18 or len(sealed) > record_size:
        raise Unreadable("The content is longer than its one record.")
    try:
        public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), sender)
    except ValueError as error:
        raise Unreadable("The sender's key is no point of P-256.") from error
    shared = _derived(secret, b"WebPush: info\0" + point_of(key) + sender, key.exchange(ec.ECDH(), public), 32)
    content_key = _derived(salt, b"Content-Encoding: aes128gcm\0", shared, 16)
    nonce = _derived(salt, b"Content-Encoding: nonce\0", shared, 12)
    try:
        padded = AESGCM(content_key).decrypt(nonce, sealed, None)
    except InvalidTag as error:
        raise Unreadable("The content was not sealed for this subscription.") from error
    content = padded.rstrip(b"\0")
    if not content.endswith(b"\2"):
        raise Unreadable("The content has no mark of its end.")
    return content[:-1]


def _derived(salt: bytes, info: bytes, secret: bytes, length: int) -> bytes:
    return HKDF(hashes.SHA256(), length, salt, info).derive(secret)
