"""The controller's webhooks: who wants to be called for what, and the signed calls themselves.

Not for: sending (the server around the controller does). Invariant: nothing is called twice; a call that fails is not tried again, since no
document says that a controller would.
"""

import hashlib
import hmac
import uuid
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any

import msgspec

from deploy.emulators.unifi.envelope import ApiError

EVENTS = (
    "access.doorbell.incoming", "access.doorbell.completed", "access.doorbell.incoming.REN", "access.device.dps_status", "access.door.unlock",
    "access.device.emergency_status", "access.unlock_schedule.activate", "access.unlock_schedule.deactivate", "access.temporary_unlock.start",
    "access.temporary_unlock.end", "access.visitor.status.changed",
)  # fmt: skip
ENDPOINTS_MAX = 50
CALLS_KEPT = 200


class EndpointBody(msgspec.Struct):
    """Who is to be called; what is unset stays as it was."""

    name: str | msgspec.UnsetType = msgspec.UNSET
    endpoint: str | msgspec.UnsetType = msgspec.UNSET
    events: list[str] | msgspec.UnsetType = msgspec.UNSET
    headers: dict[str, str] | msgspec.UnsetType = msgspec.UNSET


class Endpoint(msgspec.Struct):
    """One address that is called; `secret` is the key of its signatures, as text."""

    id: str
    secret: str
    name: str = ""
    endpoint: str = ""
    events: list[str] = []
    headers: dict[str, str] = {}


class Call(msgspec.Struct):
    """One call. `answer` is the status that came back, 0 for none yet or none at all."""

    url: str
    headers: dict[str, str]
    body: bytes
    event: str
    answer: int = 0


class Webhooks:
    """The endpoints; `send(call)` is set by whoever can send, and calls wait for nobody."""

    def __init__(self, now: Callable[[], float], rng: Random) -> None:
        self._now, self._rng = now, rng
        self.endpoints: dict[str, Endpoint] = {}
        self.calls: deque[Call] = deque(maxlen=CALLS_KEPT)
        self.send: Callable[[Call], None] = lambda call: None
        self.spaced = False
        """Whether the signature has a blank behind its comma, as one printed sample does."""

    def create(self, body: EndpointBody) -> Endpoint:
        if not all(getattr(body, name) for name in ("name", "endpoint", "events")) or msgspec.UNSET in (
            body.name,
            body.endpoint,
            body.events,
        ):
            raise ApiError("CODE_PARAMS_INVALID", "name, endpoint and events are required.")
        if len(self.endpoints) >= ENDPOINTS_MAX:
            raise ApiError("CODE_OPERATION_FORBIDDEN", "There are as many endpoints as there may be.")
        made = Endpoint(str(uuid.UUID(int=self._rng.getrandbits(128), version=4)), f"{self._rng.getrandbits(64):016x}")
        self._fill(made, body)
        self.endpoints[made.id] = made
        return made

    def update(self, endpoint_id: str, body: EndpointBody) -> Endpoint:
        changed = msgspec.structs.replace(self.get(endpoint_id))
        self._fill(changed, body)
        self.endpoints[endpoint_id] = changed
        return changed

    def get(self, endpoint_id: str) -> Endpoint:
        if endpoint_id not in self.endpoints:
            raise ApiError("CODE_NOT_EXISTS", "The endpoint does not exist.")
        return self.endpoints[endpoint_id]

    def delete(self, endpoint_id: str) -> None:
        del self.endpoints[self.get(endpoint_id).id]

    def publish(self, event: str, object_id: str, data: dict[str, Any]) -> None:
        for endpoint in list(self.endpoints.values()):
            if event not in endpoint.events:
                continue
            body = msgspec.json.encode({"event": event, "event_object_id": object_id, "data": data})
            headers = {**endpoint.headers, "Content-Type": "application/json", "Signature": self.sign(endpoint.secret, body)}
            call = Call(endpoint.endpoint, headers, body, event)
            self.calls.append(call)
            self.send(call)

    def sign(self, secret: str, body: bytes) -> str:
        at = int(self._now())
        digest = hmac.new(secret.encode(), b"%d." % at + body, hashlib.sha256).hexdigest()
        return f"t={at},{' ' * self.spaced}v1={digest}"

    def _fill(self, endpoint: Endpoint, body: EndpointBody) -> None:
        if body.events is not msgspec.UNSET and not set(body.events) <= set(EVENTS):
            raise ApiError("CODE_PARAMS_INVALID", f"events must be among {', '.join(EVENTS)}.")
        if body.endpoint is not msgspec.UNSET:
            if not body.endpoint.startswith(("http://", "https://")):
                raise ApiError("CODE_PARAMS_INVALID", "endpoint must be an address with http or https.")
            if any(other.endpoint == body.endpoint and other.id != endpoint.id for other in self.endpoints.values()):
                raise ApiError("CODE_DEVICE_WEBHOOK_ENDPOINT_DUPLICATED")
        for name in body.__struct_fields__:
            if getattr(body, name) is not msgspec.UNSET:
                setattr(endpoint, name, getattr(body, name))
