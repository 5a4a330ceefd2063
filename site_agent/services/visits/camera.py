"""What a kiosk's camera sees: frames in, the text of a pass out.

For: finding our own code in a picture. Not for: checking anybody in (`checkin`, which the kiosk asks with the text), nor reading pictures
(`devices/qr`, handed in). Invariant: one picture is read at a time, in a thread of its own, and a frame that a newer one of the same kiosk has
overtaken is dropped unread; a guest who goes on holding the same code before the camera is told of once. No frame and no text is logged or kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec

from shared import passes
from shared.errors import refuse
from site_agent.services.visits.checkin import FOREIGN

SIDE_MIN, SIDE_MAX = 32, 1280
#: a guest holds a code up for about three seconds, and the screen that answers takes one or two to look again
SAME_CODE_S = 8.0
#: a picture that takes longer than this is given up on; until its reading ends no other is begun
READ_MAX_S = 0.5

#: (grey, width, height) -> texts, the nearest code's first; may take its time, since it is called in a thread
Reader = Callable[[bytes, int, int], Sequence[str]]


class Seen(msgspec.Struct, frozen=True):
    """A QR code in the picture: `text` of a pass, to be checked in with; or no text and a `sentence` for the guest, where it is none of ours."""

    text: str
    sentence: str


class Frame(msgspec.Struct, frozen=True):
    """A picture of one byte a pixel, row after row, 0 black."""

    grey: bytes
    width: int
    height: int


def frame(grey: bytes, width: int, height: int) -> Frame:
    """The frame, or a refusal `bad_request` that says what its size should be."""
    if not (SIDE_MIN <= width <= SIDE_MAX and SIDE_MIN <= height <= SIDE_MAX):
        raise refuse("bad_request", f"A frame is {SIDE_MIN} to {SIDE_MAX} pixels wide and high, and this one is {width} by {height}.")
    if len(grey) != width * height:
        raise refuse(
            "bad_request",
            f"A grey frame of {width} by {height} pixels has {width * height} bytes, one a pixel, and this body has {len(grey)}.",
        )
    return Frame(grey, width, height)


class Camera:
    """The eyes of one site's kiosks. `monotonic` in seconds."""

    def __init__(self, read: Reader, monotonic: Callable[[], float]):
        self._read, self._monotonic = read, monotonic
        self._thread: ThreadPoolExecutor | None = None
        self._reading: asyncio.Future[Sequence[str]] | None = None
        self._turn = asyncio.Lock()
        #: kiosk -> the number of its newest frame; kiosk -> the pass told of last, and when
        self._newest: dict[str, int] = {}
        self._told: dict[str, tuple[str, float]] = {}

    async def look(self, kiosk_id: str, seen: Frame) -> Seen | None:
        """What there is to say of a kiosk's frame; None for nothing, nothing new, or a frame that was overtaken."""
        texts = await self._texts(kiosk_id, seen)
        ours = next((text for text in texts if _is_ours(text)), "")
        if not ours:
            return Seen("", FOREIGN.detail) if texts else None
        text, at = self._told.get(kiosk_id, ("", 0.0))
        now = self._monotonic()
        if text == ours and now - at < SAME_CODE_S:
            return None
        self._told[kiosk_id] = ours, now
        return Seen(ours, "")

    async def _texts(self, kiosk_id: str, seen: Frame) -> Sequence[str]:
        mine = self._newest[kiosk_id] = self._newest.get(kiosk_id, 0) + 1
        async with self._turn:
            if self._newest[kiosk_id] != mine or (self._reading is not None and not self._reading.done()):
                return ()
            if self._thread is None:
                self._thread = ThreadPoolExecutor(1, "camera")
            self._reading = asyncio.get_running_loop().run_in_executor(self._thread, self._read, seen.grey, seen.width, seen.height)
            await asyncio.wait({self._reading}, timeout=READ_MAX_S)
            return self._reading.result() if self._reading.done() else ()

    def stop(self) -> None:
        """Ends the thread once the picture in it is read."""
        if self._thread is not None:
            self._thread.shutdown(wait=False)
            self._thread = None


def _is_ours(text: str) -> bool:
    """Whether it looks like a pass; what it is worth is the check-in's to say. The size is what a token may have."""
    return text[: len(passes.PREFIX)].upper() == passes.PREFIX and len(text) < passes.TOKEN_MAX
