"""The site's JSON API under /api: the day, prices, holds, bookings, check-in, blocks, doors, conflicts, the link.

For staff (session cookie and CSRF header) and paired kiosks (Bearer token); each route's guard names who. Handlers decode, ask one
service, and answer; nothing is decided here.
"""

from shared.runtime.routing import Router
from site_agent.web.api import arrivals, bays, blocks, bookings, credentials, day, doors, emergencies, machines, people, scan, standing


def router() -> Router:
    """Everything under /api."""
    nouns = (people, day, bookings, arrivals, scan, blocks, doors, credentials, emergencies, machines, bays, standing)
    return Router("/api", route_handlers=[one for noun in nouns for one in noun.HANDLERS])
