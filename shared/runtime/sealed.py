"""Files that only the holders of a key can open: the `age` format, one or more recipients, as a stream. The only file that imports pyrage.

A recipient ("age1…") is public and may lie on every box; its identity ("AGE-SECRET-KEY-1…") is secret. Anybody can seal for a recipient:
sealing keeps a content secret and shows damage, it does not prove who made it.

Invariant: what could not be opened wholly is an error, whatever had been read of it before.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO

from ..errors import Broken, Unavailable
from .folder_flush import flush_folder

SECRET_MARK = "AGE-SECRET-KEY-1"
_KEY_MAX = 4096
_DRAIN = 65_536
#: two threads hand each other so much at a time: with the usual 8 KiB they would wait for each other most of the time
_BUFFER = 262_144


class WrongKey(Broken):
    """The identity is none of those it was sealed for."""


def new_identity() -> tuple[str, str]:
    """A new pair: the secret identity, and the recipient that belongs to it."""
    from pyrage import x25519

    identity = x25519.Identity.generate()
    return str(identity), str(identity.to_public())


def recipient_of(identity: str) -> str:
    """The public recipient of a secret identity. Broken for what is none."""
    return str(_identity(identity).to_public())


def not_a_recipient(text: str) -> str:
    """What is wrong with the text as a recipient; empty for a good one. A secret is never repeated."""
    from pyrage import RecipientError, x25519

    if text.strip().upper().startswith(SECRET_MARK):
        return "a secret key stands where a recipient belongs; give the public key that begins with age1"
    try:
        x25519.Recipient.from_str(text)
    except RecipientError:
        return f"{text[:80]!r} is no recipient; it begins with age1 and is printed by `backup key create`"
    return ""


def identity_file(path: Path) -> str:
    """The secret in a file of `backup key create`; lines with # are remarks. Broken, naming the file, where there is none."""
    try:
        text = path.read_text("utf-8")[:_KEY_MAX]
    except (OSError, UnicodeDecodeError) as error:
        raise Broken(f"The key file {path} cannot be read ({(getattr(error, 'strerror', None) or 'not text').lower()}).") from None
    found = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if len(found) != 1 or not found[0].upper().startswith(SECRET_MARK):
        raise Broken(f"The key file {path} holds no secret key; one line must begin with {SECRET_MARK}.")
    recipient_of(found[0])
    return found[0]


def kept_identity(path: Path) -> str:
    """The identity kept at `path`, made and written (for its owner only) if there is none. Blocks on the disk; Unavailable where that does not
    take it."""
    if not path.exists():
        try:
            _write_new_identity(path)
        except OSError as error:
            raise Unavailable(f"The key file {path} cannot be written: {(error.strerror or 'unknown reason').lower()}.") from None
    return identity_file(path)


def _write_new_identity(path: Path) -> None:
    secret, recipient = new_identity()
    beside = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(f"# public key: {recipient}\n{secret}\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):  # somebody else was first, and theirs stands
            os.link(beside, path)
        flush_folder(path.parent)
    finally:
        beside.unlink(missing_ok=True)


def seal(write: Callable[[IO[bytes]], None], into: IO[bytes], recipients: tuple[str, ...]) -> None:
    """What `write(stream)` writes, sealed into `into`. Blocks; `write` runs in a thread of its own. What it raises is raised here."""
    from pyrage import EncryptError, encrypt_io, x25519

    keys = [x25519.Recipient.from_str(text) for text in recipients]
    try:
        _through_pipe(write, lambda source: encrypt_io(source, into, keys))
    except EncryptError as error:
        raise Unavailable(f"The content could not be sealed: {error}.") from None


def unseal(source: IO[bytes], read: Callable[[IO[bytes]], None], identity: str) -> None:
    """Opens what was sealed and hands it to `read(stream)`. Blocks; opening runs in a thread of its own.

    WrongKey where the identity is none of the recipients, Broken for damage; then nothing that `read` made may be believed.
    """
    from pyrage import decrypt_io

    key = _identity(identity)
    _through_pipe(lambda into: _opened(decrypt_io, source, into, key), read)


def _opened(decrypt_io, source: IO[bytes], into: IO[bytes], key) -> None:
    from pyrage import DecryptError

    try:
        decrypt_io(source, into, [key])
    except BrokenPipeError:
        raise
    except (DecryptError, OSError) as error:
        if "matching keys" in str(error):
            raise WrongKey("The key does not fit: this was sealed for other keys.") from None
        if getattr(error, "errno", None):
            raise Unavailable(f"The sealed content could not be read: {error}.") from None
        raise Broken("The sealed content is damaged: it is cut short, or other than it was made.") from None


def _through_pipe(write: Callable[[IO[bytes]], None], read: Callable[[IO[bytes]], None]) -> None:
    """`write` in a thread, `read` here, a pipe between. The writer's error comes first: it is why the reader met an early end."""
    out, into = os.pipe()
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with contextlib.suppress(OSError):  # a machine may allow less
            fcntl.fcntl(into, fcntl.F_SETPIPE_SZ, 2 * _BUFFER)
    failed: list[BaseException] = []

    def run() -> None:
        try:
            with os.fdopen(into, "wb", buffering=_BUFFER) as stream:
                write(stream)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run, name="sealing", daemon=True)
    unread: BaseException | None = None
    with os.fdopen(out, "rb", buffering=_BUFFER) as stream:
        thread.start()
        try:
            read(stream)
            while stream.read(_DRAIN):  # to the very end: damage behind what was wanted is damage too
                pass
        except BaseException as error:
            unread = error
    thread.join()
    told = [error for error in failed if not isinstance(error, BrokenPipeError)]
    if told:
        raise told[0]
    if unread is not None:
        raise unread


def _identity(text: str):
    from pyrage import IdentityError, x25519

    try:
        return x25519.Identity.from_str(text.strip())
    except IdentityError:
        raise Broken(f"This is no secret key; it begins with {SECRET_MARK}.") from None
