"""What the bays need by themselves, and staff's messages for their screens, in the site's JSON API. Handlers decode, ask one service, and answer."""

from litestar import Request, get, post
from litestar.params import FromPath, JSONBody

from shared.runtime.openapi import raises
from site_agent.services.bay_jobs import JobsPanel
from site_agent.services.machines import CommandView
from site_agent.web import bodies
from site_agent.web.auth import asker_of, kit_of, needs
from site_agent.web.machines import STAFF_SCHEME


@get("/machines/jobs", tags=["Machines"], guards=[needs("view")], security=STAFF_SCHEME, sync_to_thread=False)
def jobs(request: Request) -> JobsPanel:
    """What each bay needs next, what was done there lately, and which bays are not ready for their guests."""
    return kit_of(request).bay_jobs.panel()


@post(
    "/machines/{resource_id:str}/message", status_code=202, tags=["Machines"], guards=[needs("machines")], security=STAFF_SCHEME,
    opt=raises("bad_request", "resource_not_found", "not_found", "no_machines", "id_reused"),
)  # fmt: skip
async def message(request: Request, resource_id: FromPath[str], data: JSONBody[bodies.BayMessageBody]) -> CommandView:
    """Shows a text on a bay's screen within 10 minutes or not at all; what came of it shows at `/api/machines`."""
    return await kit_of(request).machines.say(resource_id, data.command_id, data.text, asker_of(request))


HANDLERS = (jobs, message)
