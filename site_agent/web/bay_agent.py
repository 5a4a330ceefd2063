"""What the bays' PCs call: POST /bay/hello, /bay/poll and /bay/report, each signed with its bay's key, each answer signed for it.

Nobody is signed in here and there is no cookie, so the signature is everything. A poll waits for work, at most 25 s. Where the configuration has
no such way there is nothing here.
"""

from typing import Any

from litestar import Request, Response, post

from shared.runtime.problems import of_status
from shared.runtime.ratelimit import RateRule
from site_agent.ports import BayCall
from site_agent.web.auth import client_ip, kit_of

PREFIX = "/bay/"
#: a PC calls about 6 times a minute
RATE_RULE = RateRule("bay", 300, 60.0, prefixes=(PREFIX,))
WORD_MAX = 200


@post([f"{PREFIX}hello", f"{PREFIX}poll", f"{PREFIX}report"], include_in_schema=False)
async def bay_agent(request: Request) -> Response[bytes]:
    """Whatever the way answers; 404 without one."""
    calls = kit_of(request).bay_calls
    if calls is None:
        raise of_status(404)
    answer = await calls.called(_call(request, await request.body()))
    return Response(answer.body, status_code=answer.status, headers=dict(answer.headers), media_type="application/json")


def _call(request: Request[Any, Any, Any], body: bytes) -> BayCall:
    def word(name: str) -> str:
        return request.headers.get(name, "")[:WORD_MAX]

    return BayCall(
        request.scope["path"], word("x-bay"), word("x-bay-time"), word("x-bay-nonce"), word("x-bay-signature"), body, client_ip(request)
    )
