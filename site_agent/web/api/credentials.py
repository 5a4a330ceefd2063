"""What the door controller holds for us in the site's JSON API: what was compared, what differed, and staff's wish to compare now."""

from litestar import Request, get, post

from shared.runtime.openapi import raises
from site_agent.services.doors.door_check import HeldPanel
from site_agent.web.api.common import STAFF_SCHEME
from site_agent.web.auth import asker_of, kit_of, needs


@get("/doors/credentials", tags=["Doors"], guards=[needs("view")], security=STAFF_SCHEME, sync_to_thread=False)
def held(request: Request) -> HeldPanel:
    """How many PINs the door controller holds and still owes, when it was last compared with the bookings, and what differed."""
    return kit_of(request).door_check.panel()


@post(
    "/doors/credentials/check", status_code=200, tags=["Doors"], guards=[needs("unlock")], security=STAFF_SCHEME,
    opt=raises("no_doors", "door_unavailable"),
)  # fmt: skip
async def check_held(request: Request) -> HeldPanel:
    """Read the door controller back now and compare it with the bookings; what differs is put right at once. Takes up to a minute."""
    return await kit_of(request).door_check.ask(asker_of(request).id)


HANDLERS = (held, check_held)
