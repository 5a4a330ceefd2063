"""Whether the process lives, whether it can serve, and its numbers.

`ready` is about this machine only: never red because the hub, the broker or the door controller is away (O4).
"""

from typing import Any

from litestar import Request, Response, get

from shared.runtime.metrics import METRICS_MEDIA
from shared.runtime.problems import of_status
from shared.runtime.web import comes_from
from site_agent.web.auth import kit_of


@get("/health/live", include_in_schema=False, sync_to_thread=False)
def live() -> dict[str, str]:
    return {"status": "live"}


@get("/health/ready", include_in_schema=False, sync_to_thread=False)
def ready(request: Request) -> Response[dict[str, Any]]:
    """200, with what is degraded beside it; 503 when the books cannot be written."""
    kit = kit_of(request)
    link = kit.link.state()
    owed, held = kit.credentials.counts()
    told = {
        "status": "ready" if not kit.db.failing else "not ready",
        "link": link.link,
        "link_stopped": bool(link.stopped),
        "waiting_messages": link.waiting,
        "doors": "none" if not kit.doors.configured else ("away" if kit.doors.trouble else "reachable"),
        "door_credentials": {"held": held, "owed": owed},
    }
    return Response(told, status_code=503 if kit.db.failing else 200, headers={"retry-after": "5"} if kit.db.failing else {})


@get("/metrics", include_in_schema=False, sync_to_thread=False, media_type=METRICS_MEDIA)
def metrics(request: Request) -> bytes:
    """For the networks of `http.metrics_from`; to others there is nothing here (K6)."""
    kit = kit_of(request)
    if not comes_from(request.scope, kit.loaded.config.http.metrics_from):
        raise of_status(404)
    return kit.metrics.render()
