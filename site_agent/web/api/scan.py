"""Frames of a kiosk's camera: `POST /api/scan`, part of the site's JSON API.

For: taking a grey picture and telling the text of our code in it. Not for: checking in, which the kiosk then asks for like after a PIN.
Invariant: paired kiosks only; a frame changes nothing.
"""

from typing import Annotated

from litestar import Request, Response, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import QueryParameter

from shared.runtime.body import read_octets
from shared.runtime.openapi import TakesOctets
from shared.runtime.ratelimit import RateRule
from site_agent.services.visits.camera import SIDE_MAX, SIDE_MIN, Seen, frame
from site_agent.web.auth import asker_of, kit_of, needs

PATH = "/api/scan"
#: a kiosk sends five a second; a little more is let through at once, since pages are loaded between them
RATE_RULE = RateRule("scan", 16, 2.0, prefixes=(PATH,))
Side = Annotated[int, QueryParameter(ge=SIDE_MIN, le=SIDE_MAX, description="Pixels.")]
_NOTHING = ResponseSpec(None, description="No QR code, the code that was told of a moment ago, or a frame that a newer one has overtaken.")


@post(
    "/scan", status_code=200, tags=["Arrivals"], guards=[needs("kiosk")], security=[{"kiosk": []}], operation_class=TakesOctets,
    responses={204: _NOTHING},
)  # fmt: skip
async def scan(request: Request, width: Side, height: Side) -> Response[Seen]:
    """Read the QR code in a picture of the camera: one byte a pixel, row after row, 0 black; at most 1 MiB. 200 with the text of a pass, to
    be checked in with, or with a sentence for the guest where the code is none of ours; the same pass again within eight seconds is no news."""
    seen = await kit_of(request).camera.look(asker_of(request).id, frame(await read_octets(request), width, height))
    return Response(None, status_code=204) if seen is None else Response(seen)


HANDLERS = (scan,)
