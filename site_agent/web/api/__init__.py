"""The site's JSON API under /api: the day, prices, holds, bookings, check-in, blocks, doors, conflicts, the link.

For staff (session cookie and CSRF header) and paired kiosks (Bearer token); each route's guard names who. Handlers decode, ask one
service, and answer; nothing is decided here.
"""

from shared.runtime.routing import Router
from site_agent.web import bay_jobs, credentials, machines, scan
from site_agent.web import doors as all_doors
from site_agent.web.api import arrivals, blocks, bookings, day, doors, people, standing


def router() -> Router:
    """Everything under /api."""
    nouns = (people, day, bookings, arrivals, blocks, doors, standing)
    beside = (machines, bay_jobs, credentials, all_doors)
    return Router("/api", route_handlers=[*(one for noun in (*nouns, *beside) for one in noun.HANDLERS), scan.scan])
