"""Whether it is really a bay's PC that speaks: key, time, and that nothing is said twice; and who to warn when it is not.

Not for: what it says. Invariants: a request whose signature is wrong learns nothing and changes nothing but an alarm; one that is right but old
or repeated is answered with what the PC needs to speak again, signed for it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import msgspec

from shared.runtime import log
from shared.runtime.clock import Clock
from site_agent.devices.bay_agent import signing
from site_agent.devices.bay_agent.keys import Keys
from site_agent.ports import BayAnswer, BayCall

_log = log.get("site_agent.devices.bay_agent")

SKEW_MAX_S = 120
#: a nonce is kept as long as its time would still be taken, with the same again for the clock to be set back
NONCE_KEPT_S = 4 * SKEW_MAX_S
NONCES_MAX = 20_000
#: an alarm about somebody who is not who they say stands so long after the last time, and is logged so often
ALARM_KEPT_S, LOGGED_EVERY_S = 86_400.0, 60.0
STRANGER = ""
_JSON = ("content-type", "application/json")


class _Strange(msgspec.Struct):
    """Who spoke wrongly as a bay's PC: how often, and when last by the monotonic clock."""

    count: int = 0
    last_at: float = 0.0
    logged_at: float = float("-inf")


class Guard:
    """For the bays of one facility. `called(bay)` is the bay as people say it."""

    def __init__(self, keys: Keys, clock: Clock, bays: frozenset[str], called: Callable[[str], str]) -> None:
        self._keys, self._clock, self._bays, self._called = keys, clock, bays, called
        # what was said before this began is not known here, so it could be repeated: nothing older is taken
        self._began_at = int(clock.now())
        self._heard: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._strange: dict[tuple[str, str], _Strange] = {}

    def judged(self, call: BayCall) -> BayAnswer | bytes:
        """The key of whoever speaks, if it is who it says; otherwise the answer that refuses it."""
        key = self._keys.of(call.bay) if call.bay in self._bays else None
        signed = signing.of_request(key or bytes(signing.KEY_BYTES), call.path, call.bay, call.at, call.nonce, call.body)
        if key is None or not signing.same(signed, call.signature) or not call.nonce:
            self._warn(call.bay if call.bay in self._bays else STRANGER, "key", call.address)
            return refused("wrong_key", "This is not signed with the key of a bay's PC here. Enrol it: site-agent bays enrol.")
        now = self._clock.now()
        self._began_at = min(self._began_at, int(now))  # a clock that was set back must not keep everybody out until then
        said_at = int(call.at) if call.at.isascii() and call.at.isdigit() and len(call.at) <= 12 else 0
        if abs(now - said_at) > SKEW_MAX_S or said_at < self._began_at:
            return self.answer(key, call, 409, {"code": "clock", "detail": _off(said_at - now), "now": now})
        if not self._new(call, now):
            self._warn(call.bay, "again", call.address)
            return self.answer(key, call, 409, {"code": "replayed", "detail": "This was said before, and is not heard twice."})
        return key

    def answer(self, key: bytes, call: BayCall, status: int, value: object) -> BayAnswer:
        """An answer that only this call's sender believes, and only for this call."""
        body, at = msgspec.json.encode(value), str(int(self._clock.now()))
        signed = signing.of_answer(key, call.path, call.bay, at, call.nonce, status, body)
        return BayAnswer(status, body, (_JSON, (signing.TIME, at), (signing.SIGNATURE, signed)))

    def alarms(self) -> list[str]:
        """Who has spoken as a bay's PC and was not, in sentences."""
        before = self._clock.monotonic() - ALARM_KEPT_S
        self._strange = {key: one for key, one in self._strange.items() if one.last_at >= before}
        return [self._sentence(bay, how, one.count) for (bay, how), one in self._strange.items()]

    def _sentence(self, bay: str, how: str, count: int) -> str:
        times = "once" if count == 1 else f"{count} times"
        if bay == STRANGER:
            return f"Somebody spoke as the PC of a bay that this facility does not have, {times} within a day."
        if how == "again":
            return f"Somebody repeated what {self._called(bay)}'s PC had said, {times} within a day. It was not heard."
        if not self._keys.there(bay):
            return f"Somebody spoke as {self._called(bay)}'s PC, {times} within a day, and that PC was never enrolled."
        return f"Somebody spoke as {self._called(bay)}'s PC with a wrong key, {times} within a day. If it was that PC, enrol it again."

    def _new(self, call: BayCall, now: float) -> bool:
        while self._heard and (len(self._heard) > NONCES_MAX or next(iter(self._heard.values())) < now - NONCE_KEPT_S):
            self._heard.popitem(last=False)
        key = (call.bay, call.nonce[:64])
        if key in self._heard:
            return False
        self._heard[key] = now
        return True

    def _warn(self, bay: str, how: str, address: str) -> None:
        now = self._clock.monotonic()
        one = self._strange.setdefault((bay, how), _Strange())
        one.count, one.last_at = one.count + 1, now
        if now - one.logged_at >= LOGGED_EVERY_S:
            one.logged_at = now
            _log.warning("bay_agent.not_believed", bay=bay, how=how, peer=address, count=one.count)


def refused(code: str, detail: str, status: int = 401) -> BayAnswer:
    """An answer to somebody who has shown no key."""
    return BayAnswer(status, msgspec.json.encode({"code": code, "detail": detail}), (_JSON,))


def _off(off_s: float) -> str:
    if abs(off_s) <= SKEW_MAX_S:
        return "This was said before the site agent began. Please say it again."
    minutes = round(abs(off_s) / 60)
    return f"The PC's clock is {minutes} minutes {'fast' if off_s > 0 else 'slow'} by the site agent's, whose time is in `now`."
