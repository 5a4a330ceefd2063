"""`/metrics` in the Prometheus format, for the networks that `http.metrics_from` names; others find nothing.

What changes by itself is counted where it happens; links and books are read when somebody asks."""

from litestar import Request, Response, get

from shared.runtime.metrics import METRICS_MEDIA, Metrics
from shared.runtime.problems import of_status
from shared.runtime.web import comes_from

from ..services.hub import Hub


class Gauges:
    """The state of links and books, filled by `read`. Made once per app, in its registry."""

    def __init__(self, metrics: Metrics):
        self._up = metrics.gauge("link_up", "1 while the site is heard.", ["site"])
        self._stopped = metrics.gauge("link_stopped", "1 while the site's stream stands until a person has looked.", ["site"])
        self._waiting = metrics.gauge("outbox_rows", "Messages that wait for the site.", ["site"])
        self._skew = metrics.gauge("clock_skew_seconds", "The site's clock minus ours.", ["site"])
        self._unknown = metrics.gauge("unknown_rows", "Messages of the site that were kept because they were not understood.", ["site"])
        self._flushes = metrics.gauge("flushes", "Flushes of the books since start.")
        self._transactions = metrics.gauge("transactions", "Transactions since start; several share a flush.")
        self._waited_for = metrics.gauge("answers_waited_for", "Answers of sites that requests wait for.")

    def read(self, hub: Hub) -> None:
        for state in hub.links.states():
            self._up.labels(state.site_id).set(state.link == "up")
            self._stopped.labels(state.site_id).set(state.link == "stopped")
            self._waiting.labels(state.site_id).set(state.waiting_rows)
            self._skew.labels(state.site_id).set(state.skew_s)
            self._unknown.labels(state.site_id).set(state.unknown_rows)
        self._flushes.set(hub.db.commits)
        self._transactions.set(hub.db.jobs_done)
        self._waited_for.set(len(hub.waiting))


@get("/metrics", include_in_schema=False, media_type=METRICS_MEDIA)
async def metrics(request: Request) -> Response[bytes]:
    hub: Hub = request.app.state["hub"]
    if not comes_from(request.scope, hub.config.hub.http.metrics_from):
        raise of_status(404)
    gauges: Gauges = request.app.state["gauges"]
    gauges.read(hub)
    return Response(hub.metrics.render(), media_type=METRICS_MEDIA)


HANDLERS = [metrics]
