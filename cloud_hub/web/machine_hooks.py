"""Where whoever looks after the bays' machines calls us: POST /hooks/machines/<vendor>.

Invariant: what does not bear the vendor's secret is refused unread, and a call is answered at once, whatever becomes of what it says.
"""

from litestar import Request, post
from litestar.params import FromPath

from shared.errors import Refused
from shared.runtime.problems import of_status

from ..services.hub import Hub

BODY_MAX = 256 * 1024


@post("/hooks/machines/{vendor:str}", include_in_schema=False, status_code=204)
async def called(request: Request, vendor: FromPath[str]) -> None:
    """One call. 403 for a forged one, 404 for a vendor that does not call here, 413 for one that is no call."""
    hub: Hub = request.app.state["hub"]
    caller = hub.machine_calls.callers.get(vendor)
    if caller is None:
        raise of_status(404, "Nobody of this name calls here.")
    body = await request.body()
    if len(body) > BODY_MAX:
        raise of_status(413, f"A call has at most {BODY_MAX} bytes.")
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in request.scope["headers"]}
    try:
        calls = caller.read(headers, body)
    except Refused as no:
        if no.refusal.code == "hook_forged":
            hub.attempts.refused_call()
        raise
    await hub.machine_calls.heard(vendor, calls)


HANDLERS = (called,)
