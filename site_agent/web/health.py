"""Whether the process lives, whether it can serve, and its numbers.

`ready` is about this machine only: never red because the hub, the broker or the door controller is away (O4).
"""

from typing import Any

from litestar import Request, Response, get

from shared.runtime.metrics import METRICS_MEDIA
from shared.runtime.problems import of_status
from shared.runtime.web import comes_from
from site_agent.services.alarms import of_books
from site_agent.services.kit import Kit
from site_agent.web.auth import kit_of


@get("/health/live", include_in_schema=False, sync_to_thread=False)
def live() -> dict[str, str]:
    return {"status": "live"}


@get("/health/ready", include_in_schema=False, sync_to_thread=False)
def ready(request: Request) -> Response[dict[str, Any]]:
    """200, with what is degraded beside it; 503 when the books cannot be read or written."""
    kit = kit_of(request)
    alarms = [{"code": one.code, "text": one.text} for one in of_books(kit.db)] + _clock_alarms(kit)
    if kit.db.failing:  # said without asking them
        told = {"status": "not ready", "books": kit.db.failing_kind or "unwritable", "alarms": alarms}
        return Response(told, status_code=503, headers={"retry-after": "5"})
    link, halted = kit.link.state(), kit.halts.list()
    alarms += [{"code": one.code, "text": one.text} for one in [*kit.recovery.alarms(), *kit.halts.alarms(), *kit.emergency.alarms(), *kit.doors.alarms()]]
    recovery = kit.recovery.panel()
    backups = kit.backups.panel()
    if backups.degraded:
        alarms.append({"code": f"backups_{backups.status}", "text": backups.told[0]})
    owed, held = kit.credentials.counts()
    doubt = bool(kit.time.doubt())
    degraded = halted or backups.degraded or recovery.state != "sound" or recovery.unvouched or doubt
    told = {
        "status": "degraded" if degraded else "ready",
        "recovery": recovery.state,
        "unvouched": recovery.unvouched,
        "halted": [one.resource_id or "all" for one in halted],
        "books": "well",
        "alarms": alarms,
        "clock": "in doubt" if doubt else "trusted",
        "skew_s": link.skew_s,
        "link": link.link,
        "link_stopped": bool(link.stopped),
        "waiting_messages": link.waiting,
        "door_events": "none" if not kit.doors.configured else ("live" if kit.door_trail.live() else "late"),
        "door_alerts": kit.door_trail.waiting(),
        "doors": "none" if not kit.doors.configured else ("away" if kit.doors.trouble else "reachable"),
        "machines": "none" if not kit.machines.configured else ("away" if kit.machines.trouble else "reachable"),
        "door_credentials": {"held": held, "owed": owed},
        "backups": backups.status,
    }
    return Response(told)


def _clock_alarms(kit: Kit) -> list[dict[str, str]]:
    """What staff would see of the clock, of its difference to the hub's, and of the mark; none of it makes the box unready; a doubt makes it
    `degraded`, since nothing is sold."""
    why, mark = kit.time.doubt(), kit.mark.state()
    found = [{"code": "clock_untrusted", "text": f"Nothing can be sold until the time is confirmed. {why}"}] if why else []
    if kit.link.skew_is_shown():
        found.append({"code": "clocks_differ", "text": f"The booking centre's clock and ours differ by {kit.link.skew_s()} s."})
    if mark.trouble:
        found.append({"code": "mark_failing", "text": mark.trouble})
    if mark.same_medium:
        found.append({"code": "mark_beside_books", "text": "The mark lies on the same medium as the books and would be lost with them."})
    return found


@get("/metrics", include_in_schema=False, sync_to_thread=False, media_type=METRICS_MEDIA)
def metrics(request: Request) -> bytes:
    """For the networks of `http.metrics_from`; to others there is nothing here (K6)."""
    kit = kit_of(request)
    if not comes_from(request.scope, kit.loaded.config.http.metrics_from):
        raise of_status(404)
    return kit.metrics.render()
