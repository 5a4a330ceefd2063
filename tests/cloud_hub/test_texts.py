"""The operator's own texts in the books, on SQLite and on PostgreSQL, and what letters read of them: also where another replica changes one."""

import asyncio

import pytest

from cloud_hub.services.admins import Admin
from cloud_hub.services.texts import Texts
from cloud_hub.services.wording import Fault, Override, Wording, sample_facts
from cloud_hub.services.words_desk import Text, WordsDesk
from cloud_hub.store import schema, texts
from cloud_hub.store.texts import VERSIONS_KEPT, Version, Which
from shared.errors import Refused
from shared.ledger import frontdesk
from shared.ledger import schema as ledger_schema
from shared.ledger.desk import Desk
from shared.profiles import profile
from shared.runtime import postgres as pg
from shared.runtime.clock import Chance, ManualClock
from shared.runtime.database import Database
from tests.cloud_hub.hub_world import NOON

ON = ["sqlite", pytest.param("postgres", marks=pytest.mark.needs_postgres)]
SMS, MAIL = Which("confirmed", "sms", "en"), Which("confirmed", "mail", "fr", "bedford", "group")
ANA, BEN = Admin("key-1", "Testa Birdie"), Admin("key-2", "Mocka Eagle")
WORDING = Wording()


@pytest.fixture(params=ON)
def make(request, tmp_path):
    """Opens the same books once more: another replica."""
    if request.param == "sqlite":
        schema.prepare(tmp_path / "hub.db")
        return lambda: Database(tmp_path / "hub.db")
    url = request.getfixturevalue("postgres").books()
    pg.migrate(url, "ledger", ledger_schema.STEPS)
    pg.migrate(url, "hub", schema.STEPS)
    return lambda: pg.PostgresDatabase(url)


@pytest.fixture
async def two(make):
    """Two replicas on the same books."""
    both = [make(), make()]
    for db in both:
        await db.start()
    yield both
    for db in both:
        await db.stop()


@pytest.fixture
async def db(two):
    return two[0]


def version(which: Which = SMS, n: int = 1, text: str = "Come", *, active: bool = True) -> Version:
    return Version(which=which, version=n, active=active, text=text, what="saved", actor=ANA.signed, at=NOON)


def put(which: Which = SMS, n: int = 1, text: str = "Come", *, active: bool = True, token: str = ""):
    def job(tx) -> None:
        texts.changes(tx, token or f"{which}-{n}-{text}")
        texts.put(tx, version(which, n, text, active=active))

    return job


def desk_of(db, seed: int) -> WordsDesk:
    clock, chance = ManualClock(float(NOON)), Chance(seed)
    desk = Desk("hub", clock=clock.now, new_id=chance.new_id, chance=chance.random)
    houses = frontdesk.Houses(db, profile("business"), desk)
    return WordsDesk(db, desk, houses, WORDING, {}, sites=["bedford"], public_url="", seconds=clock.monotonic)


# ---- kept
async def test_a_text_is_kept_whole_and_of_each_only_the_last_version_can_be_in_use(db):
    whole = Version(which=MAIL, version=1, active=True, text="t", subject="s", html="<p>h</p>", what="saved", actor=ANA.signed, at=NOON)
    await db.write(lambda tx: texts.put(tx, whole))
    assert db.read(lambda tx: texts.latest(tx, MAIL)) == whole and db.read(texts.active) == [whole]
    await db.write(put(MAIL, 2, "newer"))
    assert [(one.version, one.active) for one in db.read(lambda tx: texts.versions(tx, MAIL))] == [(2, True), (1, False)]
    await db.write(put(MAIL, 3, "newer", active=False))
    assert db.read(texts.active) == [] and db.read(lambda tx: texts.latest(tx, MAIL)).version == 3


async def test_the_last_twenty_versions_are_kept_of_each_and_others_are_left_alone(db):
    await db.write(put(MAIL))
    for n in range(1, VERSIONS_KEPT + 6):
        await db.write(put(SMS, n))
    kept = [one.version for one in db.read(lambda tx: texts.versions(tx, SMS))]
    assert kept == list(range(VERSIONS_KEPT + 5, 5, -1)) and len(db.read(lambda tx: texts.versions(tx, MAIL))) == 1


async def test_two_texts_in_use_for_the_same_are_impossible_in_the_books(db):
    await db.write(put())
    with pytest.raises(Exception, match="(?i)unique"):
        await db.write(
            lambda tx: tx.run(
                "INSERT INTO texts SELECT event, channel, language, site_id, order_kind, 9, active, subject, body, html, what, actor, at FROM texts"
            )
        )
    assert len(db.read(texts.active)) == 1


# ---- read by letters
async def test_letters_read_the_texts_of_their_facility_and_the_general_ones(db):
    for which, text in ((SMS, "For all"), (SMS._replace(site_id="bedford"), "For us"), (SMS._replace(site_id="elsewhere"), "Not here")):
        await db.write(put(which, text=text))
    found = db.read(lambda tx: Texts().for_site(tx, "bedford"))
    assert {o.text for o in found} == {"For all", "For us"}
    words = WORDING.render("confirmed", "sms", "en", sample_facts("en"), found, site_id="bedford", order_kind="single")
    assert words.text == "For us"


class Counted:
    """A transaction that counts its queries."""

    def __init__(self, tx):
        self.tx, self.n = tx, 0

    def one(self, *args):
        self.n += 1
        return self.tx.one(*args)

    def all(self, *args):
        self.n += 1
        return self.tx.all(*args)


def asked(db, cache: Texts) -> tuple[list[str], int]:
    """The texts that a letter is given, and how many queries that took."""

    def read(tx):
        counted = Counted(tx)
        return [o.text for o in cache.for_site(counted, "bedford")], counted.n

    return db.read(read)


async def test_a_letter_costs_one_query_until_something_has_changed(db):
    cache = Texts()
    assert asked(db, cache) == ([], 1)
    await db.write(put())
    assert [asked(db, cache) for _ in range(3)] == [(["Come"], 2), (["Come"], 1), (["Come"], 1)]


async def test_what_another_replica_changes_is_in_the_next_letter(two):
    here, there = two
    cache = Texts()
    await here.write(put(text="Old"))
    assert asked(here, cache)[0] == ["Old"]
    await there.write(put(n=2, text="New"))
    assert asked(here, cache)[0] == ["New"]
    await there.write(put(n=3, text="New", active=False))
    assert asked(here, cache)[0] == []


async def test_a_change_that_was_taken_back_leaves_nothing_behind_in_memory(db):
    cache = Texts()
    await db.write(put(text="Stays"))

    def read_and_fail(tx):
        put(n=2, text="Never was", token="lost")(tx)
        assert [o.text for o in cache.for_site(tx, "bedford")] == ["Never was"]
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await db.write(read_and_fail)
    assert asked(db, cache)[0] == ["Stays"]
    await db.write(put(n=2, text="Came later", token="another"))
    assert asked(db, cache)[0] == ["Came later"]


# ---- texts that fail
def fault(which: Which = SMS, why: str = "It came out empty.") -> Fault:
    return Fault(Override(**which._asdict(), text="x"), why)


async def test_what_could_not_be_used_is_counted_until_the_text_is_changed(db):
    cache = Texts()
    await db.write(put())
    for at, why in ((NOON, "first"), (NOON + 60, "last")):
        await db.write(lambda tx, at=at, why=why: cache.failed(tx, [fault(why=why)], at))
    (failing,) = db.read(texts.failing)
    assert (failing.which, failing.times, failing.since_at, failing.last_at, failing.why) == (SMS, 2, NOON, NOON + 60, "last")
    await db.write(put(n=2))
    assert db.read(texts.failing) == []


async def test_a_text_that_was_put_back_meanwhile_is_not_held_against_anybody(db):
    await db.write(put(active=False))
    await db.write(lambda tx: Texts().failed(tx, [fault(), fault(MAIL)], NOON))
    assert db.read(texts.failing) == []


async def test_the_count_goes_with_the_letters_transaction(db):
    await db.write(put())

    def lost(tx):
        Texts().failed(tx, [fault()], NOON)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await db.write(lost)
    assert db.read(texts.failing) == []


# ---- two at once
async def test_of_two_who_save_at_once_on_two_replicas_one_is_told_and_both_texts_can_be_had(two):
    first, second = desk_of(two[0], 1), desk_of(two[1], 2)
    for n in range(5):
        done = await asyncio.gather(
            first.save(SMS, Text(f"From Ana {n}"), n, ANA), second.save(SMS, Text(f"From Ben {n}"), n, BEN), return_exceptions=True
        )
        (lost,) = [one for one in done if isinstance(one, Refused)]
        (won,) = [one for one in done if not isinstance(one, Refused)]
        assert won.version == n + 1 and lost.refusal.code == "illegal_move"
        assert f"{won.actor} has meanwhile saved this text" in lost.refusal.detail
        assert [(one.version, one.text) for one in two[0].read(texts.active)] == [(n + 1, won.text)]
