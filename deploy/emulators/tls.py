"""Self-signed certificates for the vendor emulators, made once per folder and name.

For: giving an emulator the untrusted certificate that the real box makes for itself. Not for: anything a browser should trust.
Invariant: the private key never leaves its folder and is readable by its owner only; the same folder and name give the same certificate.
"""

import datetime as dt
import hashlib
import ipaddress
import os
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_VALID_DAYS = 3650


class Certificate(msgspec.Struct, frozen=True):
    """A certificate on disk. `fingerprint` is the SHA-256 of its DER form in lower-case hex."""

    cert_path: Path
    key_path: Path
    fingerprint: str


def fingerprint_of(cert_pem: bytes) -> str:
    """SHA-256 (64 hex digits) of the DER form of the first certificate in `cert_pem`; ValueError if there is none."""
    cert = x509.load_pem_x509_certificate(cert_pem)
    return hashlib.sha256(cert.public_bytes(serialization.Encoding.DER)).hexdigest()


def self_signed(folder: Path, name: str, hosts: tuple[str, ...] = ("localhost", "127.0.0.1")) -> Certificate:
    """The certificate called `name` in `folder`, made (P-256, ten years) if it is not there yet."""
    cert_path, key_path = folder / f"{name}.crt", folder / f"{name}.key"
    if not (cert_path.exists() and key_path.exists()):
        folder.mkdir(parents=True, exist_ok=True)
        cert_pem, key_pem = _make(name, hosts)
        _write(key_path, key_pem, 0o600)
        _write(cert_path, cert_pem, 0o644)
    return Certificate(cert_path, key_path, fingerprint_of(cert_path.read_bytes()))


def _make(name: str, hosts: tuple[str, ...]) -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    begins = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    cert = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins + dt.timedelta(days=_VALID_DAYS))
        .add_extension(x509.SubjectAlternativeName([_alt_name(host) for host in hosts]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    key_pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return cert.public_bytes(serialization.Encoding.PEM), key_pem


def _alt_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write(path: Path, content: bytes, mode: int) -> None:
    """Writes beside and renames, so that a process reading meanwhile never sees half a file."""
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as out:
        out.write(content)
    beside.replace(path)
