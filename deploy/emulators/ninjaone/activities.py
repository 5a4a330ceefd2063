"""The emulated NinjaOne's journal: activities by id, seen a little late, and given to whoever listens.

Not for: deciding what happens. Invariant: ids only rise, and what was not yet visible is in no list and in no webhook.
"""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

KEPT_MAX = 20_000
FIRST_ID = 700_001


class Activity(msgspec.Struct, frozen=True, kw_only=True):
    """One line, as the API tells it: `at` unix seconds, `seen_at` when the API begins to tell it."""

    id: int
    at: float
    seen_at: float
    device_id: int
    activity_type: str
    status_code: str
    status: str
    subject: str
    message: str
    series: str = ""
    source: str = ""
    source_config: str = ""
    result: str = ""
    severity: str = "NONE"
    data: dict[str, Any] = {}

    def told(self) -> dict[str, Any]:
        """As the API and the webhook tell it; what there is none of is left out, as NinjaOne does."""
        fields = {
            "id": self.id, "activityTime": self.at, "deviceId": self.device_id, "severity": self.severity, "priority": "NONE",
            "seriesUid": self.series, "activityType": self.activity_type, "statusCode": self.status_code, "status": self.status,
            "activityResult": self.result, "sourceConfigUid": self.source_config, "sourceName": self.source, "subject": self.subject,
            "message": self.message, "type": self.activity_type.replace("_", " ").title(), "data": self.data,
        }  # fmt: skip
        return {name: value for name, value in fields.items() if value not in ("", {})}


class Journal:
    """All activities. `on_line(activity)` is called once for each that has become visible; `lag_s`: how late that is."""

    def __init__(self, now: Callable[[], float], lag_s: float) -> None:
        self.lag_s = lag_s
        self.on_line: Callable[[Activity], None] = lambda activity: None
        self._now = now
        self._lines: list[Activity] = []
        self._told = 0
        self._next = FIRST_ID

    def write(self, device_id: int, kind: str, code: str, message: str, *, at: float | None = None, **more: Any) -> Activity:
        moment = self._now() if at is None else at
        line = Activity(
            id=self._next, at=moment, seen_at=moment + self.lag_s, device_id=device_id, activity_type=kind, status_code=code,
            status=code.replace("_", " ").capitalize(), message=message, **({"subject": message} | more),
        )  # fmt: skip
        self._next += 1
        self._lines.append(line)
        if len(self._lines) > KEPT_MAX:
            del self._lines[0]
            self._told = max(0, self._told - 1)
        return line

    def advance(self) -> None:
        """Tells whoever listens what has become visible."""
        while self._told < len(self._lines) and self._lines[self._told].seen_at <= self._now():
            line = self._lines[self._told]
            self._told += 1
            self.on_line(line)

    def visible(self) -> list[Activity]:
        """What the API knows by now, newest first."""
        now = self._now()
        return [line for line in reversed(self._lines) if line.seen_at <= now]


def found(lines: Iterable[Activity], wanted: dict[str, str]) -> list[Activity]:
    """The lines that a list's parameters choose; `newer` and `older` are ids, as the API means them whatever its document says."""
    checks: dict[str, Callable[[Activity, str], bool]] = {
        "newer": lambda line, value: line.id > int(value),
        "older": lambda line, value: line.id < int(value),
        "type": lambda line, value: line.activity_type == value,
        "status": lambda line, value: line.status_code == value,
        "series": lambda line, value: line.series == value,
        "source": lambda line, value: line.source_config == value,
        "device": lambda line, value: line.device_id == int(value),
    }
    return [line for line in lines if all(checks[name](line, value) for name, value in wanted.items() if value)]
