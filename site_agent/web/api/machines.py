"""The bays' machines: how each is, help from afar, what they need next, a text for a screen. Handlers decode, ask one service, and answer."""

from litestar import Request, get, post
from litestar.params import FromPath, JSONBody

from shared.runtime.openapi import raises
from site_agent.services.bays.bay_jobs import JobsPanel
from site_agent.services.bays.machines import CommandView, MachinePanel
from site_agent.web import bodies
from site_agent.web.api.common import STAFF_SCHEME
from site_agent.web.auth import asker_of, kit_of, needs


@get("/machines", tags=["Machines"], guards=[needs("view")], security=STAFF_SCHEME, sync_to_thread=False)
def machines(request: Request) -> MachinePanel:
    """How each bay's machine is, what may be done there, and what came of it."""
    return kit_of(request).machines.panel()


@post(
    "/machines/{resource_id:str}/help", status_code=202, tags=["Machines"], guards=[needs("machines")], security=STAFF_SCHEME,
    opt=raises("bad_request", "resource_not_found", "not_found", "no_machines", "id_reused", "command_running", "bay_in_use"),
)  # fmt: skip
async def help_machine(request: Request, resource_id: FromPath[str], data: JSONBody[bodies.HelpBody]) -> CommandView:
    """Restart a bay's machine or a service of it, or run an approved script there. It is begun within 10 minutes or not at all; what came of it
    shows at `/api/machines`."""
    desk = kit_of(request).machines
    return await desk.help(resource_id, data.command_id, data.kind, data.name, data.reason, data.sure, asker_of(request))


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


HANDLERS = (machines, help_machine, jobs, message)
