"""The controller's notification stream: one WebSocket, its certificate pinned as for the rest, and whether anybody is still at the other end.

Not for: what a frame means, nor for connecting again. Invariants: nothing is sent over an unpinned connection; the token appears in no error
and no log; a line on which nothing at all was heard for `silent_after_s` ends by itself.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from site_agent.devices.unifi.pinning import certificate_changed, pinned_context
from site_agent.devices.unifi.wire import PREFIX, WireError

PATH = f"{PREFIX}/devices/notifications"
FRAME_MAX = 1 << 20
FRAMES_WAITING_MAX = 64
PING_EVERY_S = 20.0
CLOSE_TIMEOUT_S = 1.0


class StreamEnded(Exception):
    """The stream is over, or could not be opened; the text says why."""


class _Connection(ClientConnection):
    """A connection that knows when anything came: some controllers answer no ping but greet or ping by themselves, so any octet counts."""

    heard_at = 0.0

    def data_received(self, data: bytes) -> None:
        self.heard_at = self.loop.time()
        super().data_received(data)


class Line:
    """An open stream."""

    def __init__(self, connection: _Connection, silent_after_s: float) -> None:
        self._connection, self._silent_after_s = connection, silent_after_s
        self._clock = asyncio.get_running_loop().time

    async def frame(self, within_s: float) -> str | None:
        """The next frame as text; None where none came within so long. Raises StreamEnded."""
        silent_in_s = self._connection.heard_at + self._silent_after_s - self._clock()
        if silent_in_s <= 0:
            raise StreamEnded(f"nothing was heard for {self._silent_after_s:.0f} s")
        try:
            async with asyncio.timeout(max(0.0, min(within_s, silent_in_s))):
                told = await self._connection.recv()
        except TimeoutError:
            return None
        except ConnectionClosed:
            raise StreamEnded("the controller closed it") from None
        return told if isinstance(told, str) else told.decode("utf-8", "replace")


class Stream:
    """Opens lines to one controller. `host` and `token` were checked by the wire. ValueError for a fingerprint that is none."""

    def __init__(self, host: str, port: int, token: str, fingerprint: str, *, connect_timeout_s: float, silent_after_s: float) -> None:
        bare_host = f"[{host}]" if ":" in host else host
        self._url = f"wss://{bare_host}:{port}{PATH}"
        self._headers = {"Authorization": f"Bearer {token}"}
        self._context = pinned_context(fingerprint)
        self._connect_timeout_s, self._silent_after_s = connect_timeout_s, silent_after_s
        # At debug level the library writes every header, the token's too.
        self._log = logging.Logger("site_agent.devices.unifi.stream", logging.ERROR)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Line]:
        """A line for the block. Raises StreamEnded, or WireError of kind `certificate`."""
        connection = await self._connect()
        try:
            yield Line(connection, self._silent_after_s)
        finally:
            with suppress(Exception):
                await connection.close()

    async def _connect(self) -> _Connection:
        try:
            made = await connect(
                self._url, ssl=self._context, additional_headers=self._headers, compression=None, proxy=None, user_agent_header=None,
                open_timeout=self._connect_timeout_s, ping_interval=PING_EVERY_S, ping_timeout=None, close_timeout=CLOSE_TIMEOUT_S,
                max_size=FRAME_MAX, max_queue=FRAMES_WAITING_MAX, create_connection=_Connection, logger=self._log,
            )  # fmt: skip
        except InvalidStatus as error:
            raise StreamEnded(f"the controller answered HTTP {error.response.status_code}") from None
        except (OSError, TimeoutError, WebSocketException) as error:
            changed = certificate_changed(error)
            if changed is not None:
                text = f"The controller shows another certificate than the pinned one (SHA-256 {changed.seen})."
                raise WireError("certificate", text) from None
            raise StreamEnded("the controller cannot be reached") from None
        assert isinstance(made, _Connection)
        made.heard_at = made.loop.time()
        return made
