"""What a switch of Shelly's answers over HTTP, of the second generation (RPC by GET and by POST) and of the first.

After Shelly's public API documents. Not for: what the relay feeds. Invariants: only what a switch has is answered; with a password everything
but the device's own name asks for it, in the way of its generation.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from typing import Any

import msgspec

from deploy.emulators.bays.estate import CHANNELS, Bay
from deploy.emulators.messages.wire import Answer
from deploy.emulators.ninjaone.http import Request

MODEL = {1: "SHSW-25", 2: "SNSW-102P16EU"}
FIRMWARE = {1: "20230913-114008/v1.14.0-gcb84623", 2: "20240430-105751/1.3.1-gd8534ee"}
NONCES_MAX = 16
#: Shelly's own numbers for what is wrong with a call
INVALID, NOT_FOUND = -103, -105


class RpcError(Exception):
    """A call that the second generation refuses."""

    def __init__(self, code: int, message: str, status: int = 500) -> None:
        super().__init__(message)
        self.code, self.status = code, status


class Switch:
    """The switch of one bay; `answer(request)` is all of it."""

    def __init__(self, bay: Bay) -> None:
        self.bay = bay
        self._nonces: list[str] = []
        self.requests: list[str] = []

    @property
    def mac(self) -> str:
        """Its own, beside the PC's."""
        return f"C0{self.bay.spec.mac.replace(':', '')[2:]}".upper()

    @property
    def name(self) -> str:
        return f"{'shellyswitch25' if self.bay.spec.generation == 1 else 'shellyplus2pm'}-{self.mac.lower()}"

    def answer(self, request: Request) -> Answer:
        self.requests = [*self.requests[-99:], f"{request.method} {request.path}"]
        if request.path == "/shelly":
            return _json(self._first_info() if self.bay.spec.generation == 1 else self._info())
        if self.bay.spec.generation == 1:
            return self._first(request) if self._basic(request) else _unauthorized(f'Basic realm="{self.name}"')
        return self._second(request)

    # ---- the second generation
    def _second(self, request: Request) -> Answer:
        envelope = msgspec.convert(_decoded(request.body), dict) if request.path == "/rpc" and request.method == "POST" else None
        method = str(envelope.get("method", "")) if envelope is not None else request.path.removeprefix("/rpc/")
        if not request.path.startswith("/rpc"):
            return Answer(404, b"Not Found", "text/plain")
        if method != "Shelly.GetDeviceInfo" and not self._digest(request):
            return _unauthorized(self._challenge())
        given = envelope.get("params") or {} if envelope is not None else {name: _plain(one) for name, one in request.query.items()}
        if envelope is None and request.method == "POST":
            given = _decoded(request.body)
        try:
            result = self._rpc(method, given if isinstance(given, dict) else {})
        except RpcError as error:
            told = {"code": error.code, "message": str(error)}
            if envelope is None:
                return _json(told, error.status)
            return _json({"id": envelope.get("id", 0), "src": self.name, "error": told})
        return _json(result if envelope is None else {"id": envelope.get("id", 0), "src": self.name, "result": result})

    def _rpc(self, method: str, given: dict[str, Any]) -> dict[str, Any]:
        if method == "Shelly.GetDeviceInfo":
            return self._info()
        if method == "Shelly.GetStatus":
            return {f"switch:{number}": self._status(number) for number in range(CHANNELS)} | {"sys": {"mac": self.mac}}
        if method not in ("Switch.Set", "Switch.Toggle", "Switch.GetStatus"):
            raise RpcError(404, f"No handler for {method}", 404)
        channel = self._channel(given)
        if method == "Switch.GetStatus":
            return self._status(channel)
        on = not self.bay.channels[channel].on if method == "Switch.Toggle" else given.get("on")
        if not isinstance(on, bool):
            raise RpcError(INVALID, "Missing required argument 'on'!" if on is None else f"Argument 'on', value {on!r} is not a boolean!")
        back_after_s = given.get("toggle_after", 0)
        if isinstance(back_after_s, bool) or not isinstance(back_after_s, int | float) or back_after_s < 0:
            raise RpcError(INVALID, "Argument 'toggle_after' is not a number!")
        return {"was_on": self.bay.switch(channel, on, back_after_s, "http")}

    def _channel(self, given: dict[str, Any]) -> int:
        number = given.get("id")
        if isinstance(number, bool) or not isinstance(number, int):
            raise RpcError(INVALID, "Missing required argument 'id'!")
        if not 0 <= number < CHANNELS:
            raise RpcError(NOT_FOUND, f"Argument 'id', value {number} not found!")
        return number

    def _status(self, number: int) -> dict[str, Any]:
        one, watts = self.bay.channels[number], self.bay.watts(number)
        told: dict[str, Any] = {
            "id": number, "source": one.source, "output": one.on, "apower": watts, "voltage": 121.3, "current": round(watts / 121.3, 3),
            "aenergy": {"total": 0.0, "by_minute": [0.0, 0.0, 0.0], "minute_ts": 0}, "temperature": {"tC": 41.2, "tF": 106.2},
        }  # fmt: skip
        if one.back_at:
            told["timer_duration"] = round(max(0.0, one.back_at - self.bay.monotonic()), 2)
        return told | ({"errors": self.bay.errors} if self.bay.errors else {})

    def _info(self) -> dict[str, Any]:
        secured = bool(self.bay.spec.password)
        return {
            "name": None, "id": self.name, "mac": self.mac, "slot": 0, "model": MODEL[2], "gen": 2, "fw_id": FIRMWARE[2], "ver": "1.3.1",
            "app": "Plus2PM", "auth_en": secured, "auth_domain": self.name if secured else None, "profile": "switch",
        }  # fmt: skip

    def _challenge(self) -> str:
        self._nonces = [*self._nonces[1 - NONCES_MAX :], secrets.token_hex(8)]
        return f'Digest qop="auth", realm="{self.name}", nonce="{self._nonces[-1]}", algorithm=SHA-256'

    def _digest(self, request: Request) -> bool:
        if not self.bay.spec.password:
            return True
        said = dict(re.findall(r'(\w+)="?([^",]*)"?', request.headers.get("authorization", "").removeprefix("Digest ")))
        if said.get("nonce") not in self._nonces or said.get("username") != "admin":
            return False
        one = _sha(f"admin:{self.name}:{self.bay.spec.password}")
        other = _sha(f"{request.method}:{said.get('uri', '')}")
        wanted = _sha(":".join((one, said["nonce"], said.get("nc", ""), said.get("cnonce", ""), said.get("qop", ""), other)))
        return said.get("uri", "").partition("?")[0] == request.path and hmac.compare_digest(wanted, said.get("response", ""))

    # ---- the first generation
    def _first(self, request: Request) -> Answer:
        kind, _, number = request.path.removeprefix("/").partition("/")
        if kind == "status" and not number:
            numbers = range(CHANNELS)
            return _json(
                {"relays": [self._relay(one) for one in numbers], "meters": [self._meter(one) for one in numbers], "mac": self.mac}
            )
        if kind not in ("relay", "meter") or not number.isdigit() or int(number) >= CHANNELS:
            return Answer(404, b"Not Found", "text/plain")
        channel = int(number)
        if kind == "meter":
            return _json(self._meter(channel))
        turn, timer = request.query.get("turn", ""), request.query.get("timer", "0")
        if turn not in ("", "on", "off", "toggle") or not timer.isdigit():
            return Answer(400, b"Bad turn!" if timer.isdigit() else b"Bad timer!", "text/plain")
        if turn:
            on = not self.bay.channels[channel].on if turn == "toggle" else turn == "on"
            self.bay.switch(channel, on, int(timer), "http")
        return _json(self._relay(channel))

    def _relay(self, number: int) -> dict[str, Any]:
        one = self.bay.channels[number]
        left_s = int(max(0.0, one.back_at - self.bay.monotonic())) if one.back_at else 0
        return {
            "ison": one.on, "has_timer": bool(one.back_at), "timer_started": 0, "timer_duration": left_s, "timer_remaining": left_s,
            "overpower": "overpower" in self.bay.errors, "source": one.source,
        }  # fmt: skip

    def _meter(self, number: int) -> dict[str, Any]:
        return {
            "power": self.bay.watts(number),
            "overpower": 0.0,
            "is_valid": True,
            "timestamp": 0,
            "counters": [0.0, 0.0, 0.0],
            "total": 0,
        }

    def _first_info(self) -> dict[str, Any]:
        return {
            "type": MODEL[1], "mac": self.mac, "auth": bool(self.bay.spec.password), "fw": FIRMWARE[1], "longid": 1, "num_outputs": CHANNELS,
            "num_meters": CHANNELS,
        }  # fmt: skip

    def _basic(self, request: Request) -> bool:
        if not self.bay.spec.password:
            return True
        wanted = "Basic " + base64.b64encode(f"admin:{self.bay.spec.password}".encode()).decode()
        return hmac.compare_digest(wanted.encode(), request.headers.get("authorization", "").encode())


def _json(value: object, status: int = 200) -> Answer:
    return Answer(status, msgspec.json.encode(value))


def _unauthorized(challenge: str) -> Answer:
    return Answer(401, b"401 Unauthorized", "text/plain", {"WWW-Authenticate": challenge})


def _decoded(body: bytes) -> Any:
    try:
        found = msgspec.json.decode(body or b"{}")
    except msgspec.DecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _plain(text: str) -> Any:
    """A value of a query as JSON has it; what is none is text."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
