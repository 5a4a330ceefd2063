"""The emulated controller's system log.

Not for: notifications. Invariant: a row becomes readable `delay_s` after it happened and then never changes; the oldest rows go first.
"""

import datetime as dt
from collections import deque
from typing import Any

TOPICS = ("all", "door_openings", "critical", "updates", "device_events", "admin_activity", "visitor")
ROWS_MAX = 20_000


def row(
    now: float,
    *,
    event_type: str,
    message: str,
    result: str,
    provider: str,
    actor_id: str,
    actor_name: str,
    actor_type: str,
    targets: list[dict[str, Any]],
    row_id: str = "",
) -> dict[str, Any]:
    """One log row in the controller's shape; `published` is in milliseconds."""
    published_ms = int(now * 1000)
    stamp = dt.datetime.fromtimestamp(now, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "@timestamp": stamp,
        "_id": row_id,
        "_source": {
            "actor": {"id": actor_id, "type": actor_type, "display_name": actor_name, "alternate_id": "", "alternate_name": ""},
            "authentication": {"credential_provider": provider, "issuer": ""},
            "event": {"type": event_type, "display_message": message, "result": result, "reason": "", "published": published_ms},
            "target": targets,
        },
        "tag": "access",
    }


def target(kind: str, target_id: str, name: str) -> dict[str, Any]:
    return {"type": kind, "id": target_id, "display_name": name, "alternate_id": "", "alternate_name": ""}


def insight(entry: dict[str, Any]) -> dict[str, Any]:
    """The same row as the other notification tells it; each part is a dict or a list, so that both have to be borne."""
    source = entry["_source"]
    door = next((one for one in source["target"] if one["type"] == "door"), {})
    device = [one for one in source["target"] if one["type"] == "UAH"]
    return {
        "log_key": f"insight-{source['event']['published']}",
        "event_type": source["event"]["type"],
        "message": source["event"]["display_message"],
        "published": source["event"]["published"],
        "result": source["event"]["result"],
        "metadata": {
            "actor": source["actor"], "authentication": source["authentication"], "door": door, "device": device,
            "opened_direction": {}, "opened_method": [],
        },
    }  # fmt: skip


class SystemLog:
    """Rows by time; `find` answers newest first, as the controller does."""

    def __init__(self, delay_s: float) -> None:
        self.delay_s = delay_s
        self._rows: deque[tuple[float, str, dict[str, Any]]] = deque(maxlen=ROWS_MAX)

    def add(self, now: float, topic: str, entry: dict[str, Any]) -> None:
        self._rows.append((now, topic, entry))

    def find(self, now: float, topic: str, since: int | None = None, until: int | None = None, actor_id: str = "") -> list[dict[str, Any]]:
        """Rows of `topic` that are readable at `now`, from `since` to `until` (unix seconds, both included)."""
        found = []
        for happened_at, row_topic, entry in reversed(self._rows):
            if happened_at + self.delay_s > now or (topic != "all" and topic != row_topic):
                continue
            if (since is not None and happened_at < since) or (until is not None and happened_at >= until + 1):
                continue
            if actor_id and entry["_source"]["actor"]["id"] != actor_id:
                continue
            found.append(entry)
        return found
