"""How the repair of the hub's books is told: health, the list of sites, metrics, and what a guest reads of a facility that may not sell."""

import pytest

from cloud_hub.services.booking import declined
from shared.ledger import boxes, fencing
from shared.model import Booking
from tests.cloud_hub.hub_world import SITE


def at_hub(w, act) -> None:
    w.hub.db.write_now(lambda tx: act(tx, w.hub.desk))


def metrics(w) -> str:
    w.app.litestar.state["gauges"].read(w.hub)
    return w.hub.metrics.render().decode()


async def told(w) -> tuple:
    """What health and the API say of the one site."""
    ready, site = (await w.client.get("/health/ready")).json(), (await w.get(f"/sites/{SITE}")).json()
    return ready["status"], ready.get("recovery", {}), ready.get("unvouched", []), site["recovery"], site["unvouched"]


async def test_sound_books_say_so(w):
    assert await told(w) == ("ready", {}, [], "sound", False)
    assert 'hub_site_fenced{site="bedford"} 0.0' in metrics(w)


async def test_a_fence_for_one_site_is_told_everywhere_and_refused_in_plain_words(w):
    w.cut()
    at_hub(w, lambda tx, desk: fencing.fence(tx, desk, SITE, "These books were put back from a backup."))
    assert await told(w) == ("degraded", {SITE: "fenced"}, [], "fenced", False)
    said = metrics(w)
    assert 'hub_site_fenced{site="bedford"} 1.0' in said and 'hub_site_repairing{site="bedford"} 0.0' in said
    answer = await w.post("/bookings", w.wish(1, 200))
    assert (answer.status_code, answer.json()["code"]) == (409, "fenced") and "being repaired" in answer.json()["detail"]


async def test_a_repair_that_waits_for_a_persons_word_is_told(w):
    w.cut()
    at_hub(w, lambda tx, desk: fencing.fence(tx, desk, SITE, "This hub is rebuilt from its sites."))
    at_hub(w, lambda tx, desk: boxes.mark_restored(tx, desk, SITE, vouched=False, stated=False))
    at_hub(w, lambda tx, desk: tx.run("UPDATE streams SET repair = '1.epoch'"))
    assert await told(w) == ("degraded", {SITE: "repairing"}, [SITE], "repairing", True)
    assert 'hub_site_unvouched{site="bedford"} 1.0' in metrics(w) and 'hub_site_repairing{site="bedford"} 1.0' in metrics(w)


async def test_a_hub_in_whose_place_another_stands_says_so(w):
    w.cut()
    at_hub(w, lambda tx, desk: boxes.retire(tx, desk, SITE, 2))
    assert (await told(w))[1:4] == ({SITE: "retired"}, [], "retired")


@pytest.mark.parametrize("code", ["fenced", "retired", "below_floor", "clock_untrusted", "bay_halted"])
def test_a_facility_that_may_not_sell_is_told_by_its_own_code_and_a_sentence_of_its_own(code):
    asked = Booking(id="booking-0001", order_id="o", site_id=SITE, resource_id=f"{SITE}.box-1", start=1, end=5, status="declined", reason=code)
    no = declined(asked)
    assert no.code == code and "could not take" not in no.detail and no.detail.endswith(".")
