"""Litestar's router, as our apps use it: made for one app, and registered once.

Invariant: what is registered is the router itself. Litestar registers a deep copy of a router and of every handler in it, so that one router may
go into two places; ours never does, and the copies are a quarter of the time that an app takes to start.
"""

from __future__ import annotations

import litestar


class Router(litestar.Router):
    """A router that goes into one place."""

    def __deepcopy__(self, memo: dict[int, object]) -> Router:
        return self
