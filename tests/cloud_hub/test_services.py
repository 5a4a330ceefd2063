"""What the services promise beneath the API: waiting, keys, links of customers, the tray, what the clock does."""

import asyncio

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud_hub import jobs
from cloud_hub.services.customer_links import CustomerLinks
from cloud_hub.services.keys import Keys
from cloud_hub.services.tray import Tray
from cloud_hub.services.waiting import Waiting
from cloud_hub.store import folder, schema, settings
from cloud_hub.store import keys as key_rows
from shared.keys import SigningKey
from shared.ledger import records
from shared.ledger import schema as ledger_schema
from shared.messages import Hello, Position
from tests.cloud_hub.hub_world import NOON, SITE, books

HUB_KEY = SigningKey.from_seed(b"h" * 32)
SITE_KEY = SigningKey.from_seed(b"s" * 32).public("site", SITE)


# ---- waiting
async def test_an_answer_that_is_there_already_is_not_waited_for():
    assert await Waiting(books()).until(lambda: "yes", [("booking", "b")], 5) == "yes"


async def test_an_answer_that_comes_wakes_who_waits_for_it_and_leaves_nothing_behind():
    db, answers = books(), []
    waiting = Waiting(db)
    waits = asyncio.create_task(waiting.until(lambda: answers[0] if answers else None, [("booking", "b")], 5))
    await asyncio.sleep(0)
    db.write_now(lambda tx: tx.tell("booking", "another"))
    await asyncio.sleep(0)
    assert not waits.done() and len(waiting) == 1
    answers.append("yes")
    db.write_now(lambda tx: tx.tell("booking", "b"))
    assert await waits == "yes" and len(waiting) == 0


async def test_patience_ends_and_a_cancelled_wait_leaves_nothing_behind():
    waiting = Waiting(books())
    assert await waiting.until(lambda: None, [("booking", "b")], 0.01) is None
    waits = asyncio.create_task(waiting.until(lambda: None, [("booking", "b")], 5))
    await asyncio.sleep(0)
    waits.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waits
    assert len(waiting) == 0


# ---- keys
def hello(keys=(), known=()) -> Hello:
    at = Position(0, "")
    return Hello(hub_id="h", site_id=SITE, box_id="b", term=1, fenced=False, stopped=False, epoch="e", schema=1, sent=at, applied=at, lines={},
                 clock=float(NOON), keys=tuple(keys), known_keys=tuple(known))  # fmt: skip


def told(key, **more) -> dict[str, str]:
    return {"id": key.id, "raw_b64": key.raw_b64, "side": key.side, **more}


@pytest.fixture
def keys():
    return Keys(books(*ledger_schema.STEPS, *schema.STEPS), HUB_KEY)


async def test_a_sites_key_is_learned_and_kept(keys):
    await keys.heard(SITE, hello([told(SITE_KEY)]), NOON)
    assert keys.known(SITE) == (SITE_KEY.id,) and keys.ring.find(SITE_KEY.id).site_id == SITE
    after_restart = Keys(keys._db, HUB_KEY)
    after_restart.load()
    assert after_restart.known(SITE) == (SITE_KEY.id,)


async def test_a_pass_is_signed_only_with_a_key_that_its_site_has_acknowledged(keys):
    assert keys.to_sign(SITE) is None
    await keys.heard(SITE, hello(known=["0" * 16]), NOON)
    assert keys.to_sign(SITE) is None
    await keys.heard(SITE, hello(known=[HUB_KEY.id]), NOON)
    assert keys.to_sign(SITE).id == HUB_KEY.id and keys.to_sign("dartmouth") is None
    after_restart = Keys(keys._db, HUB_KEY)
    after_restart.load()
    assert after_restart.to_sign(SITE).id == HUB_KEY.id


async def test_a_site_speaks_for_its_own_key_only(keys):
    await keys.heard(SITE, hello([told(SITE_KEY, side="hub", site_id="")]), NOON)
    assert (keys.ring.find(SITE_KEY.id).side, keys.ring.find(SITE_KEY.id).site_id) == ("site", SITE)
    await keys.heard("dartmouth", hello([told(SITE_KEY)]), NOON)
    assert keys.known("dartmouth") == ()
    await keys.heard("dartmouth", hello([told(HUB_KEY.public("hub"))]), NOON)
    assert keys.known("dartmouth") == () and keys.ring.find(HUB_KEY.id).side == "hub"


@pytest.mark.rule("loss-4")
async def test_a_site_is_told_what_its_boxes_have_signed_with_and_nothing_of_other_sites(keys):
    await keys.heard(SITE, hello([told(SITE_KEY)]), NOON)
    other = SigningKey.from_seed(b"o" * 32).public("site", "dartmouth")
    await keys.heard("dartmouth", hello([told(other)]), NOON)
    assert [(key["id"], key["side"]) for key in keys.announced(SITE)] == [(HUB_KEY.id, "hub"), (SITE_KEY.id, "site")]
    assert [key["id"] for key in keys.announced("dartmouth")] == [HUB_KEY.id, other.id]


@pytest.mark.parametrize(
    "bad", [{}, {"id": "x"}, {"id": SITE_KEY.id, "raw_b64": "!!", "side": "site"}, {"id": "0" * 16, "raw_b64": SITE_KEY.raw_b64}]
)
async def test_a_malformed_key_is_passed_over(keys, bad):
    await keys.heard(SITE, hello([bad, told(SITE_KEY)]), NOON)
    assert keys.known(SITE) == (SITE_KEY.id,)


async def test_what_is_known_already_is_not_written_again(keys):
    say = hello([told(SITE_KEY)], [HUB_KEY.id])
    await keys.heard(SITE, say, NOON)
    commits = keys._db.commits
    await keys.heard(SITE, say, NOON)
    assert keys._db.commits == commits
    assert keys._db.read(key_rows.acknowledged) == {SITE: {HUB_KEY.id}}


# ---- links of customers
def test_a_link_opens_its_own_order_and_no_other():
    links = CustomerLinks(b"x" * 32)
    token = links.token("order-0001")
    assert len(token) == 22 and links.opens("order-0001", token)
    assert not links.opens("order-0002", token)
    assert not CustomerLinks(b"y" * 32).opens("order-0001", token)
    with pytest.raises(ValueError, match="32 bytes"):
        CustomerLinks(b"short")


@given(st.text(max_size=40))
def test_any_other_text_opens_nothing(text):
    links = CustomerLinks(b"x" * 32)
    assert links.opens("order-0001", text) == (text == links.token("order-0001"))


# ---- the tray
async def test_a_wish_that_cannot_be_read_is_taken_away_and_told(w, tmp_path, caplog):
    folder.wish(tmp_path, b"not a wish")
    folder.wish(tmp_path, msgspec.json.encode({"revoke": "key-000000000000"}))
    assert await jobs.take_wishes(w.hub, Tray(tmp_path)) == 1
    assert list(folder.wishes(tmp_path)) == [] and "tray.unreadable" in caplog.text


# ---- the clock
async def test_everything_that_the_clock_does_is_entered_and_runs(w):
    names = {job.id for job in w.app.ticker._scheduler.get_jobs()}
    books = {"placing", "digests", "outage-pins", "watch", "backups", "mark", "clock"}
    telling = {"work", "notifications", "notifications.forget", "conditions", "notices", "refusals", "phone-checks.forget"}
    assert names == {"hello", "tick", "release", "holds.expire", "bookings.expire", "answers.forget", "tray"} | books | telling
    links = (("tick", w.hub.links.tick), ("hello", w.hub.links.hello), ("release", w.hub.links.release))
    told = (("work", w.hub.worker.tick), ("notifications", w.hub.notifying.sweep), ("notifications.forget", w.hub.notifying.forget))
    new = (("conditions", w.hub.digest.look), ("notices", w.hub.notices.tick), ("refusals", w.hub.rule_tally.flush), ("placing", w.hub.placing.run))
    for name, call in (*links, *told, *new):
        await w.app.ticker.run(call, name)
    assert not w.app.ticker.errors


async def test_going_dark_is_told_once(w, caplog):
    w.network.cut(f"site-{SITE}", "both", noticed=False)
    w.clock.forward(11)
    for _ in range(3):
        w.hub.links.tick()
    assert caplog.text.count("link.dark") == 1


async def test_a_profile_that_changed_without_a_higher_version_is_told_and_not_sent(w, caplog):
    sites = w.hub.sites
    sites._profile = msgspec.structs.replace(sites._profile, name="other")
    assert await sites.tell(SITE) is False and "sites.profile_kept" in caplog.text
    sites._profile = msgspec.structs.replace(sites._profile, version=sites._profile.version + 1)
    assert await sites.tell(SITE) is True
    await w.quiet()
    assert w.site.db.read(lambda tx: records.document(tx, "profile", SITE))[0] == sites._profile.version


async def test_the_box_keeps_its_name(w):
    assert w.db.write_now(lambda tx: settings.kept(tx, "box_id", lambda: "another")) == w.hub.desk.box_id
