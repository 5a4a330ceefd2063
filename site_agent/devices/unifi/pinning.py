"""Trust in one certificate: the controller signs its own, so the leaf's SHA-256 is compared with the one that a person confirmed.

For: the wire, and the installer that asks the person. Not for: public certificates.
Invariant: the comparison is part of the TLS handshake, so no byte of a request (the token least of all) leaves before it has passed.
"""

import asyncio
import hashlib
import re
import ssl

_HEX = re.compile(r"[0-9a-f]{64}")


class FingerprintError(ValueError):
    """What was given is no SHA-256 fingerprint or no certificate; the text says so."""


class CertificateChanged(ssl.SSLError):
    """The other end showed another certificate than the pinned one; `seen` is its fingerprint."""

    def __init__(self, seen: str) -> None:
        super().__init__(ssl.SSL_ERROR_SSL, "The certificate is not the pinned one.")
        self.seen = seen


def normal_fingerprint(text: str) -> str:
    """64 lower-case hex digits out of what people paste (colons, spaces, capitals). Raises FingerprintError."""
    plain = re.sub(r"[\s:]", "", text).lower()
    if not _HEX.fullmatch(plain):
        raise FingerprintError("A certificate's fingerprint is its SHA-256: 64 hexadecimal digits, with or without colons.")
    return plain


def fingerprint_of_pem(pem: str) -> str:
    """The fingerprint of the first certificate in a PEM text. Raises FingerprintError."""
    found = re.search(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", pem, re.DOTALL)
    try:
        leaf = found.group(0) + "\n" if found else ""
        # Loaded for the check alone: the PEM reader of the standard library takes any text between the two lines.
        _unchecked_context().load_verify_locations(cadata=leaf)
        return _sha256(ssl.PEM_cert_to_DER_cert(leaf))
    except (ValueError, ssl.SSLError) as error:
        raise FingerprintError("The file holds no readable certificate in PEM form.") from error


def pinned_context(fingerprint: str) -> ssl.SSLContext:
    """A TLS context whose handshake fails with CertificateChanged unless the leaf has this fingerprint."""
    wanted = normal_fingerprint(fingerprint)

    class PinnedObject(ssl.SSLObject):
        # asyncio, uvloop and anyio all run their handshakes through this method of the object that the context makes.
        def do_handshake(self) -> None:
            super().do_handshake()
            seen = _sha256(self.getpeercert(binary_form=True) or b"")
            if seen != wanted:
                raise CertificateChanged(seen)

    context = _unchecked_context()
    context.sslobject_class = PinnedObject
    return context


async def fetch_fingerprint(host: str, port: int, timeout_s: float = 5.0) -> str:
    """The fingerprint that host:port shows now, for a person to compare and confirm once. Sends nothing. Raises OSError, TimeoutError."""
    async with asyncio.timeout(timeout_s):
        _, writer = await asyncio.open_connection(host, port, ssl=_unchecked_context())
    try:
        return _sha256(writer.get_extra_info("ssl_object").getpeercert(binary_form=True))
    finally:
        writer.transport.abort()


def certificate_changed(error: BaseException | None) -> CertificateChanged | None:
    """The CertificateChanged that a library's error came from, if it did."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, CertificateChanged):
            return error
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return None


def _unchecked_context() -> ssl.SSLContext:
    """No authority vouches for the box: the fingerprint is the check, not a chain of signatures."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _sha256(der: bytes) -> str:
    return hashlib.sha256(der).hexdigest()
