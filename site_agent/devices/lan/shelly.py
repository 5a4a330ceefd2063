"""HTTP to a switch on the local network, as Shelly's plugs and relays speak it: of the second generation on (RPC), or of the first.

Not for: bays. Invariants: a call is made once and never repeated here; an error inside a 200 is an error; the password is in no error and no log.
Which generation a switch is of is asked before anything is switched, and then known.
"""

from __future__ import annotations

import ipaddress
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec

from site_agent.ports import MachinesRefused, MachinesUnavailable

#: a switch lets few talk to it at once
CONNECTIONS_MAX = 2
TEXT_MAX = 200
#: what a switch says of its own troubles, for people
TROUBLES = {"overtemp": "it is too hot", "overpower": "too much power is drawn", "overvoltage": "the voltage is too high"}


class Switch(msgspec.Struct, frozen=True):
    """What a switch says: whether it is on, what is drawn (watts; None where it does not measure), and what troubles it."""

    on: bool
    watts: float | None = None
    troubles: tuple[str, ...] = ()


def base_of(url: str) -> str:
    """The address without anything behind it; ValueError with a sentence where it is none of a switch on this network."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError(f"{url!r} is no address of a switch.") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError(f"{url!r} is no address of a switch: give it as http://192.168.4.21.")
    if parts.username or parts.password:
        raise ValueError("A switch's password does not stand in its address: give the setting 'password_file'.")
    try:
        outside = ipaddress.ip_address(parts.hostname).is_global
    except ValueError:
        outside = False
    if outside:
        raise ValueError(f"{url!r} is not an address of the local network.")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}{f':{port}' if port else ''}"


class ShellySwitch:
    """One switch. `called` is what it is called in sentences ("The plug of Box 1"); the failures of its calls are the port's."""

    def __init__(self, url: str, channel: int, called: str, *, user: str, password: str, timeout_s: float):
        self._base, self._channel, self.called = base_of(url), channel, called
        self.where = urlsplit(self._base).netloc
        self._user, self._password, self._generation = user, password, 0
        # trust_env off: a proxy named in the environment has no business on this network
        self._client = httpx.AsyncClient(
            base_url=self._base, timeout=timeout_s, trust_env=False, follow_redirects=False,
            limits=httpx.Limits(max_connections=CONNECTIONS_MAX, max_keepalive_connections=0),
        )  # fmt: skip

    async def close(self) -> None:
        await self._client.aclose()

    async def state(self) -> Switch:
        if await self._knows() == 1:
            found = await self._get(f"/relay/{self._channel}", {})
            meter = await self._get(f"/meter/{self._channel}", {}, absent=True)
            return self._switch(found.get("ison"), meter.get("power"), ["overpower"] if found.get("overpower") else [])
        found = await self._get("/rpc/Switch.GetStatus", {"id": self._channel})
        return self._switch(found.get("output"), found.get("apower"), found.get("errors") or [])

    async def set(self, on: bool, back_after_s: int = 0) -> None:
        """Switches it; with `back_after_s` it goes back by itself, whatever becomes of us meanwhile."""
        if await self._knows() == 1:
            more = {"timer": back_after_s} if back_after_s else {}
            await self._get(f"/relay/{self._channel}", {"turn": "on" if on else "off"} | more, acts=True)
            return
        more = {"toggle_after": back_after_s} if back_after_s else {}
        await self._get("/rpc/Switch.Set", {"id": self._channel, "on": "true" if on else "false"} | more, acts=True)

    def _switch(self, on: Any, watts: Any, troubles: Any) -> Switch:
        if not isinstance(on, bool):
            raise MachinesUnavailable(f"{self.called} ({self.where}) does not say whether it is on.")
        said = tuple(TROUBLES.get(one, one) for one in troubles if isinstance(one, str)) if isinstance(troubles, list) else ()
        return Switch(on, float(watts) if isinstance(watts, int | float) and not isinstance(watts, bool) else None, said)

    async def _knows(self) -> int:
        """Its generation: those from the second on tell it without a password, and only those."""
        if not self._generation:
            found = await self._get("/rpc/Shelly.GetDeviceInfo", {}, absent=True)
            self._generation = 2 if found else 1
        return self._generation

    def _auth(self) -> httpx.Auth | None:
        if not self._password or not self._generation:
            return None
        # the second generation knows one user
        return httpx.BasicAuth(self._user, self._password) if self._generation == 1 else httpx.DigestAuth("admin", self._password)

    async def _get(self, path: str, query: dict[str, Any], *, acts: bool = False, absent: bool = False) -> dict[str, Any]:
        """One call; `acts`: it changes something, so that a lost answer is no refusal; `absent`: a 404 is an empty answer."""
        try:
            answer = await self._client.get(path, params=query, auth=self._auth())
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout):
            raise MachinesUnavailable(f"{self.called} ({self.where}) does not answer.") from None
        except (httpx.HTTPError, httpx.InvalidURL):
            raise MachinesUnavailable(f"{self.called} ({self.where}) broke off.", outcome_unknown=acts) from None
        if absent and (answer.status_code == 404 or (answer.status_code == 401 and not self._generation)):
            return {}
        if answer.status_code == 401:
            raise MachinesRefused(f"{self.called} ({self.where}) does not take our password.", code="key_refused")
        return self._read(answer, acts)

    def _read(self, answer: httpx.Response, acts: bool) -> dict[str, Any]:
        try:
            found = msgspec.json.decode(answer.content)
        except msgspec.DecodeError:
            found = None
        inside = found.get("error", found) if isinstance(found, dict) else found
        if isinstance(inside, dict) and isinstance(inside.get("code"), int) and "message" in inside:
            text = str(inside["message"])[:TEXT_MAX].strip().rstrip(".")
            raise MachinesRefused(f"{self.called} ({self.where}) refused: {text}.", code="command_unknown")
        if answer.status_code >= 400 or not isinstance(found, dict):
            what = f"the error {answer.status_code}" if answer.status_code >= 400 else "something that is no answer of a switch"
            raise MachinesUnavailable(f"{self.called} ({self.where}) answered {what}.", outcome_unknown=acts)
        return found
