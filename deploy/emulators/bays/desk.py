"""The emulated bays' desk at /_emulator/: the page for people, the state, and what can be done to PCs, cables and switches.

It asks for no sign-in, so it listens where the emulator listens (this machine by default); JSON bodies are demanded so that a foreign web page
cannot post to it. Invariant: bad input gets an answer that says what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import msgspec

from deploy.emulators.bays import page
from deploy.emulators.bays.estate import Bay
from deploy.emulators.bays.pc import End
from deploy.emulators.common import page as common
from deploy.emulators.messages.wire import Answer
from deploy.emulators.ninjaone.errors import ApiError, bad
from deploy.emulators.ninjaone.http import Request

PREFIX = "/_emulator"


class BayBody(msgspec.Struct, forbid_unknown_fields=True):
    """What befalls a bay; what is not given stays. `press`: the PC's power button. `crash`: the bay agent ends, and is started again. `forge`: somebody
    speaks to the site agent as this PC, with a wrong key."""

    bay: str
    cable: bool | None = None
    press: bool = False
    crash: bool = False
    program: bool | None = None
    play: bool = False
    switch: Literal["silent", "answers", ""] = ""
    stuck: bool | None = None
    errors: list[str] | None = None
    ends: list[End] | None = None
    forge: bool = False


def answer(bays: Mapping[str, Bay], zone: str, request: Request, silence: Callable[[Bay], None], forge: Callable[[Bay], None]) -> Answer:
    """One request below /_emulator. Raises ApiError."""
    path = request.path.removeprefix(PREFIX)
    if request.method in ("GET", "HEAD"):
        return _show(bays, zone, path)
    if request.method != "POST":
        raise ApiError(405, "method_not_allowed", "The emulator's desk takes GET and POST.")
    if path != "/bay":
        raise ApiError(404, "not_found", "The emulator's desk has no such path.")
    _bay(bays, request.decode(BayBody), silence, forge)
    return Answer(200, b'{"done":true}', headers={"Cache-Control": "no-store"})


def _show(bays: Mapping[str, Bay], zone: str, path: str) -> Answer:
    if path in ("", "/"):
        return Answer(200, page.render(bays.values(), zone).encode(), "text/html; charset=utf-8", common.HEADERS)
    if path == "/board":
        return Answer(200, page.board(bays.values(), zone).encode(), "text/html; charset=utf-8", common.HEADERS)
    if path == "/state":
        return Answer(200, msgspec.json.encode({"bays": [bay.told() for bay in bays.values()]}), headers={"Cache-Control": "no-store"})
    found = common.file(path.removeprefix("/"), page.STATIC)
    if found is None:
        raise ApiError(404, "not_found", "The emulator's desk has no such path.")
    return Answer(200, *found, {"X-Content-Type-Options": "nosniff"})


def _bay(bays: Mapping[str, Bay], body: BayBody, silence: Callable[[Bay], None], forge: Callable[[Bay], None]) -> None:
    bay = bays.get(body.bay)
    if bay is None:
        raise bad(f"There is no bay {body.bay[:80]!r} here.")
    if body.cable is not None:
        bay.put_cable(body.cable)
    if body.press and bay.powered:
        bay.pc.press(bay.monotonic())
    if body.crash:
        bay.pc.crash()
    if body.program is not None:
        bay.pc.program(on=body.program)
    if body.play:
        bay.pc.play()
    if body.stuck is not None:
        bay.stuck = body.stuck
    if body.errors is not None:
        bay.errors = body.errors[:10]
    if body.ends is not None:
        bay.pc.end_next(body.ends)
    if body.switch:
        bay.silent = body.switch == "silent"
        silence(bay)
    if body.forge:
        forge(bay)
