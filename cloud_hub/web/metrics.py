"""`/metrics` in the Prometheus format, for the networks that `http.metrics_from` names; others find nothing.

What changes by itself is counted where it happens; links and books are read when somebody asks."""

from litestar import Request, Response, get

from shared.errors import Failure
from shared.runtime.metrics import METRICS_MEDIA, Metrics, WatchedGauge
from shared.runtime.problems import of_status
from shared.runtime.web import comes_from

from ..services.hub import Hub
from ..services.surveys import COUNTED_DAYS
from ..services.work_desk import STATES, WorkDesk


class Gauges:
    """The state of links and books, filled by `read`. Made once per app, in its registry."""

    def __init__(self, metrics: Metrics, work: WorkDesk):
        self._up = metrics.gauge("link_up", "1 while the site is heard.", ["site"])
        self._stopped = metrics.gauge("link_stopped", "1 while the site's stream stands until a person has looked.", ["site"])
        self._waiting = metrics.gauge("outbox_rows", "Messages that wait for the site.", ["site"])
        self._skew = metrics.gauge("clock_skew_seconds", "The site's clock minus ours.", ["site"])
        self._unknown = metrics.gauge("unknown_rows", "Messages of the site that were kept because they were not understood.", ["site"])
        self._differences = metrics.gauge("digest_differences", "Days on which the site's books and ours were found to differ.", ["site"])
        self._resent = metrics.gauge("digest_resent", "Bookings sent again because the site's books lacked them.", ["site"])
        self._mended = metrics.gauge("digest_mended", "Bookings of ours that the site's word mended.", ["site"])
        self._doubtful = metrics.gauge("digest_doubtful", "Bookings on which the books differ and which people must settle.", ["site"])
        self._compared = metrics.gauge("digest_compared_at_seconds", "When the site's books were last compared with ours, unix time.", ["site"])
        self._breaches = metrics.gauge("breaches", "Broken invariants of the site's books here that nobody has looked at yet.", ["site"])
        self._halted = metrics.gauge("bays_halted", "Bays (or the site as one) whose sales are stopped here until a person has looked.", ["site"])
        self._recovery = {
            state: metrics.gauge(f"site_{state}", words, ["site"])
            for state, words in {
                "fenced": "1 while our books may lack sales of the site, and sell nothing for it.",
                "repairing": "1 while our books and the site's are being brought together.",
                "retired": "1 while another hub stands in our place for the site.",
                "unvouched": "1 while the repair waits for a person's word that the hub before this one is off.",
            }.items()
        }
        self._loss = metrics.gauge("possible_loss_sales", "Sales of ours that no other machine holds (loss-7).", ["site"])
        self._loss_since = metrics.gauge("possible_loss_since_seconds", "When the oldest of them was made, unix time; 0 for none.", ["site"])
        self._second = metrics.gauge("second_machine", "1 held, 0 away, -1 where the hub does without.")
        self._spares = metrics.gauge("outage_pins_free", "Outage PINs left to give while the site is dark.", ["site"])
        self._unexplained = metrics.gauge("outage_pins_unexplained", "Outage PINs used at the door without a known booking.", ["site"])
        self._flushes = metrics.gauge("flushes", "Flushes of the books since start.")
        self._trusted = metrics.gauge("clock_trusted", "1 while this machine's clock is trusted; without it nothing is sold.")
        self._mark = metrics.gauge("mark_failing", "1 while the mark on the other medium cannot be trusted or kept.")
        self._failing = metrics.gauge("books_failing", "1 while the books cannot be read or written.")
        self._free = metrics.gauge("disk_free_bytes", "Room left where the books lie; -1 where that is another machine's matter.")
        self._low = metrics.gauge("disk_low", "1 while that room is nearly used up.")
        self._transactions = metrics.gauge("transactions", "Transactions since start; several share a flush.")
        self._waited_for = metrics.gauge("answers_waited_for", "Answers of sites that requests wait for.")

        self._work = WorkGauges(metrics, work)
        self._surveys = SurveyGauges(metrics)

    def read(self, hub: Hub) -> None:
        room = hub.db.disk()
        self._trusted.set(not hub.trust.doubt())
        self._mark.set(bool(hub.mark.state().trouble))
        self._failing.set(bool(hub.db.failing))
        self._free.set(room.free_octets)
        self._low.set(room.low)
        self._flushes.set(hub.db.commits)
        self._transactions.set(hub.db.jobs_done)
        self._waited_for.set(len(hub.waiting))
        try:
            self._read_links(hub)
            self._work.read()
            self._surveys.read(hub)
        except Failure:  # the books cannot be read; the rest is told all the same
            self._failing.set(1)

    def _read_links(self, hub: Hub) -> None:
        second = hub.witnessing.state()
        self._second.set({"held": 1, "away": 0}.get(second.state, -1))
        for site_id, loss in second.possible_loss.items():
            self._loss.labels(site_id).set(loss.sales)
            self._loss_since.labels(site_id).set(loss.since_at)
        for state in hub.links.states():
            self._up.labels(state.site_id).set(state.link == "up")
            self._stopped.labels(state.site_id).set(state.link == "stopped")
            self._waiting.labels(state.site_id).set(state.waiting_rows)
            self._skew.labels(state.site_id).set(state.skew_s)
            self._unknown.labels(state.site_id).set(state.unknown_rows)
            self._differences.labels(state.site_id).set(state.books.differences)
            self._resent.labels(state.site_id).set(state.books.resent)
            self._mended.labels(state.site_id).set(state.books.mended)
            self._spares.labels(state.site_id).set(hub.outage_pins.free(state.site_id))
            self._unexplained.labels(state.site_id).set(hub.outage_pins.unexplained(state.site_id))
            self._doubtful.labels(state.site_id).set(len(state.doubtful))
            self._compared.labels(state.site_id).set(state.books.compared_at)
            self._breaches.labels(state.site_id).set(state.breaches)
            self._halted.labels(state.site_id).set(len(state.halted))
            for name, gauge in self._recovery.items():
                gauge.labels(state.site_id).set({"unvouched": state.unvouched, "fenced": bool(state.fenced_why)}.get(name, state.recovery == name))


class WorkGauges:
    """What waits for vendors. Named without the app's prefix: work rows are the same wherever they are kept."""

    def __init__(self, metrics: Metrics, work: WorkDesk):
        self._work = work

        def gauge(name: str, about: str, labels: list[str]) -> WatchedGauge:
            return WatchedGauge(f"clubos_work_{name}", about, labels, registry=metrics.registry)

        self._rows = gauge("rows", "Things to be done, or done in the last three months, by how they stand.", ["lane", "state"])
        self._oldest = gauge("oldest_seconds", "For how long the longest waiting one has been due.", ["lane"])
        self._open = gauge("breaker_open", "1 while the vendor is left alone because it failed.", ["lane"])

    def read(self) -> None:
        for one in (self._rows, self._oldest, self._open):
            one.clear()  # a lane that is gone, with its rows, is not told of for ever
        for lane in self._work.lanes():
            for state in STATES:
                self._rows.labels(lane.name, state).set(lane.rows.get(state, 0))
            self._oldest.labels(lane.name).set(lane.oldest_s)
            if lane.doing is not None:
                self._open.labels(lane.name).set(bool(lane.away_since))


class SurveyGauges:
    """What guests answered lately. A facility without answers has no mean and no share, since it is unknown and not nought (A8)."""

    def __init__(self, metrics: Metrics):
        def gauge(name: str, about: str) -> WatchedGauge:
            return WatchedGauge(f"clubos_survey_{name}", about, ["site"], registry=metrics.registry)

        self._answers = gauge("answers", f"Answers of guests about the facility in the last {COUNTED_DAYS} days.")
        self._mean = gauge("mean", "Their mean, from 1 (worst) to 5.")
        self._good = gauge("good_share", "The share of 4 and 5 among them, from 0 to 1.")

    def read(self, hub: Hub) -> None:
        for one in (self._mean, self._good):
            one.clear()
        for found in hub.surveys.all_satisfaction([state.site_id for state in hub.links.states()]):
            self._answers.labels(found.site_id).set(found.answers)
            if found.mean is not None and found.good_share is not None:
                self._mean.labels(found.site_id).set(found.mean)
                self._good.labels(found.site_id).set(found.good_share)


@get("/metrics", include_in_schema=False, media_type=METRICS_MEDIA)
async def metrics(request: Request) -> Response[bytes]:
    hub: Hub = request.app.state["hub"]
    if not comes_from(request.scope, hub.config.hub.http.metrics_from):
        raise of_status(404)
    gauges: Gauges = request.app.state["gauges"]
    gauges.read(hub)
    return Response(hub.metrics.render(), media_type=METRICS_MEDIA)


HANDLERS = [metrics]
