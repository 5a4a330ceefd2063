"""Tokens for NinjaOne: of the app for reading, and of the person who consented once, whose refresh token changes with every use.

Not for: the consent itself (`consent`), HTTP (`wire`). Invariants: a new refresh token is on the disk, sealed, before anything is done with
it, and the old one is kept beside it until then; only one renewal is under way, in this process and beside it; a renewal that was begun is
brought to its end whoever waited for it; only `invalid_grant` ends a consent, never a lost answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import secrets
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec

from shared.runtime import log
from shared.runtime.clock import Clock
from shared.runtime.folder_flush import flush_folder
from shared.sealing import NotOpened, Sealer
from site_agent.devices.ninjaone.objects import Grant
from site_agent.devices.ninjaone.wire import Wire, WireError

_log = log.get("site_agent.devices.ninjaone")

#: an access token is given up so long before it ends
MARGIN_S = 120
#: how long another process may take to renew
ALONE_WITHIN_S = 30.0
_ABOUT = "ninjaone consent"


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A person's consent as it lies on the disk. Times in unix seconds. `previous`: the refresh token before, tried should the newer one turn out
    to be unknown. `lost`: why it is over, empty while it is good."""

    url: str
    client_id: str
    refresh: str
    scopes: str
    granted_at: int
    renewed_at: int
    access: str = ""
    access_ends_at: int = 0
    previous: str = ""
    lost: str = ""


class ConsentFile:
    """The consent at `path`, sealed under this box's own key, so that a copy of the data alone opens nothing."""

    def __init__(self, path: Path, sealer: Sealer) -> None:
        self._path, self._sealer = path, sealer

    def read(self) -> Kept | None:
        """None where nobody has consented. WireError `consent` where it cannot be opened."""
        try:
            sealed = self._path.read_text("ascii").strip()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise _unreadable() from error
        try:
            return msgspec.json.decode(self._sealer.open(sealed, _ABOUT), type=Kept)
        except (NotOpened, msgspec.DecodeError) as error:
            raise _unreadable() from error

    def write(self, kept: Kept) -> None:
        """Durable when it returns, whole or not at all. Blocks on the disk; OSError where that does not take it."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        beside = self._path.with_name(f".{self._path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        sealed = self._sealer.seal(msgspec.json.encode(kept).decode(), _ABOUT)
        try:
            with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(sealed + "\n")
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self._path)
        finally:
            beside.unlink(missing_ok=True)
        flush_folder(self._path.parent)

    @contextlib.asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Nobody else on this machine reads or renews it meanwhile. WireError where somebody does not end."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(self._path.with_name(f"{self._path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            deadline = asyncio.get_running_loop().time() + ALONE_WITHIN_S
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if asyncio.get_running_loop().time() > deadline:
                        raise WireError("away", "Another program on this machine keeps NinjaOne's consent to itself.") from None
                    await asyncio.sleep(0.05)
            yield
        finally:
            os.close(handle)


def _unreadable() -> WireError:
    return WireError(
        "consent", "The kept consent for NinjaOne cannot be opened on this box. Please run “site-agent ninjaone connect” again."
    )


def kept_of(grant: Grant, *, url: str, client_id: str, now: int, granted_at: int, before: Kept | None = None) -> Kept:
    """What is kept of a token endpoint's answer; one that does not change the refresh token leaves the old one."""
    refresh = grant.refresh_token or (before.refresh if before else "")
    return Kept(
        url=url, client_id=client_id, refresh=refresh, scopes=grant.scope or (before.scopes if before else ""), granted_at=granted_at,
        renewed_at=now, access=grant.access_token, access_ends_at=now + int(grant.expires_in),
        previous=before.refresh if before and before.refresh != refresh else "",
    )  # fmt: skip


class AppTokens:
    """The app's own token, by client credentials: for reading, with no person behind it. Kept in memory only."""

    def __init__(self, wire: Wire, clock: Clock, client_id: str, secret: str, scope: str) -> None:
        self._wire, self._clock = wire, clock
        self._form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret, "scope": scope}
        self._text, self._ends_at = "", 0.0
        self._one = asyncio.Lock()

    async def get(self, dead: str = "") -> str:
        """A good token; never `dead`, which the API has refused. Raises WireError."""
        async with self._one:
            if not self._text or self._text == dead or self._clock.now() >= self._ends_at - MARGIN_S:
                grant = await self._wire.token(self._form)
                self._text, self._ends_at = grant.access_token, self._clock.now() + grant.expires_in
            return self._text


class PersonTokens:
    """The token of the person who consented. `on_change()` is called whenever the consent is other than it was."""

    def __init__(
        self, wire: Wire, clock: Clock, file: ConsentFile, client_id: str, secret: str, on_change: Callable[[], None] = lambda: None
    ):
        self._wire, self._clock, self._file = wire, clock, file
        self._client_id, self._secret = client_id, secret
        self.on_change = on_change
        self._renewing: asyncio.Task[Kept] | None = None
        #: what could not be written: never used before it is
        self._unwritten: Kept | None = None

    def kept(self) -> Kept | None:
        """The consent as it lies on the disk. WireError where it cannot be opened."""
        found = self._file.read()
        return found if found is None or (found.url, found.client_id) == (self._wire.base, self._client_id) else None

    async def get(self, dead: str = "") -> str:
        """A good token; never `dead`, which the API has refused. Raises WireError."""
        kept = self._good()
        if kept.access and kept.access != dead and self._clock.now() < kept.access_ends_at - MARGIN_S and self._unwritten is None:
            return kept.access
        return (await self._renewed(dead)).access

    async def renew(self) -> None:
        """Renews now, so that the refresh token does not lapse. Raises WireError."""
        await self._renewed(self._good().access)

    def _good(self) -> Kept:
        kept = self.kept()
        if kept is None:
            raise WireError("no_person", "Nobody has consented yet: please run “site-agent ninjaone connect”.")
        if kept.lost:
            raise WireError("consent", kept.lost)
        return kept

    async def _renewed(self, dead: str) -> Kept:
        if self._renewing is None or self._renewing.done():
            self._renewing = asyncio.get_running_loop().create_task(self._renew(dead))
            self._renewing.add_done_callback(_retrieved)
        # a task of its own: cut between the answer and the disk, the new refresh token would be nowhere
        return await asyncio.shield(self._renewing)

    async def _renew(self, dead: str) -> Kept:
        async with self._file.alone():
            if self._unwritten is not None:
                return await self._write(self._unwritten)
            kept = self._good()
            if kept.access and kept.access != dead and self._clock.now() < kept.access_ends_at - MARGIN_S:
                return kept  # somebody else was quicker
            return await self._write(await self._asked(kept))

    async def _asked(self, kept: Kept) -> Kept:
        for refresh in (kept.refresh, kept.previous):
            if not refresh:
                continue
            form = {"grant_type": "refresh_token", "client_id": self._client_id, "client_secret": self._secret, "refresh_token": refresh}
            try:
                grant = await self._wire.token(form)
            except WireError as error:
                if error.kind != "consent":
                    raise
                continue
            now = int(self._clock.now())
            before = msgspec.structs.replace(kept, refresh=refresh)
            return kept_of(grant, url=kept.url, client_id=kept.client_id, now=now, granted_at=kept.granted_at, before=before)
        why = "NinjaOne says that the consent is over: taken back, too old, or lost in a restart. Please run “site-agent ninjaone connect” again."
        _log.warning("ninjaone.consent_lost")
        await self._write(msgspec.structs.replace(kept, lost=why, access="", access_ends_at=0))
        raise WireError("consent", why)

    async def _write(self, kept: Kept) -> Kept:
        self._unwritten = kept
        try:
            await asyncio.to_thread(self._file.write, kept)
        except OSError as error:
            why = (error.strerror or "unknown reason").lower()
            raise WireError("away", f"NinjaOne's new token cannot be kept on this machine's disk ({why}), so it is not used.") from None
        self._unwritten = None
        self.on_change()
        return kept


def _retrieved(task: asyncio.Task[Kept]) -> None:
    """Reads the exception of a renewal that nobody waits for any more."""
    if not task.cancelled():
        task.exception()
