"""What the door controller calls: POST /hooks/doors, signed by it. A call is a hint to look at its log; nothing in it is believed.

Nobody is signed in here, so the signature is everything: without a secret in the configuration there is nothing here, and a call that is not
signed learns no more than that.
"""

from litestar import Request, post

from shared.runtime.problems import of_status
from site_agent.web.auth import kit_of

BODY_MAX = 64 * 1024


@post("/hooks/doors", status_code=204, include_in_schema=False)
async def doors(request: Request) -> None:
    """204 for a call of the controller's, 404 for anything else."""
    body = await request.body()
    if len(body) > BODY_MAX or not kit_of(request).doors.called(request.headers.get("signature", "")[:300], body):
        raise of_status(404)
