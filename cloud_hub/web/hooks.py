"""Where vendors call us: what became of a message, what people wrote back.

Invariant: a call is answered "I have it" after its content is in the books, and never before; what is not the vendor's own is refused.
"""

from litestar import Request, Response, post
from litestar.params import FromPath

from shared.errors import Refused
from shared.runtime.problems import of_status

from ..services.hub import Hub


@post("/hooks/{vendor:str}", include_in_schema=False, status_code=200)
async def called(request: Request, vendor: FromPath[str]) -> Response[bytes]:
    """One call of a vendor. 403 for a forged or stale one, 404 for a vendor that reports nothing here."""
    hub: Hub = request.app.state["hub"]
    hooks = hub.hooks.get(vendor)
    if hooks is None:
        raise of_status(404, "No vendor of this name reports here.")
    query = request.scope.get("query_string", b"").decode("latin-1")
    target = request.scope.get("raw_path", request.scope["path"].encode()).decode("latin-1") + (f"?{query}" if query else "")
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in request.scope["headers"]}
    body = await request.body()
    try:
        news = hooks.read(target, headers, body)
    except Refused as no:
        if no.refusal.code == "hook_forged":
            hub.attempts.refused_call()
        raise
    await hub.reports.heard(news)
    answer = hooks.answer
    return Response(answer.body, status_code=answer.status, media_type=answer.media)


HANDLERS = (called,)
