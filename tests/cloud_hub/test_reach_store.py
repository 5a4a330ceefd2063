"""What the hub keeps of answers, choices and browsers, on SQLite and on PostgreSQL."""

import pytest

from cloud_hub.store import notifications as kept
from cloud_hub.store import passkeys, schema, surveys
from cloud_hub.store.passkeys import KEPT_S, Passkey
from cloud_hub.store.surveys import Counted, SurveyAnswer
from shared.ledger import schema as ledger_schema
from shared.notifications import Preferences
from shared.runtime import postgres as pg
from shared.runtime.database import Database
from tests.cloud_hub.hub_world import NOON

ON = ["sqlite", pytest.param("postgres", marks=pytest.mark.needs_postgres)]


@pytest.fixture(params=ON)
async def db(request, tmp_path):
    if request.param == "sqlite":
        schema.prepare(tmp_path / "hub.db")
        made = Database(tmp_path / "hub.db")
    else:
        url = request.getfixturevalue("postgres").books()
        pg.migrate(url, "ledger", ledger_schema.STEPS)
        pg.migrate(url, "hub", schema.STEPS)
        made = pg.PostgresDatabase(url)
    await made.start()
    yield made
    await made.stop()


def answer(n: int, score: int, at: int = NOON, **more) -> SurveyAnswer:
    return SurveyAnswer(
        **{"order_id": f"order-{n}", "site_id": "bedford", "customer_id": "c-1", "score": score, "words": "", "at": at, "changed_at": at}
        | more
    )


async def test_answers_are_counted_by_facility_since_a_moment_and_read_the_newest_first(db):
    given = [answer(1, 5), answer(2, 3, NOON - 10), answer(3, 4, NOON - 10), answer(4, 1, NOON - 20), answer(5, 2, site_id="dartmouth")]
    await db.write(lambda tx: [surveys.put(tx, one) for one in given])
    assert db.read(lambda tx: surveys.counted(tx, NOON - 10)) == {"bedford": Counted(3, 12, 2), "dartmouth": Counted(1, 2, 0)}
    assert db.read(lambda tx: surveys.counted(tx, NOON + 1)) == {}
    first = db.read(lambda tx: surveys.newest(tx, None, 3))
    rest = db.read(lambda tx: surveys.newest(tx, (first[-1].at, first[-1].order_id), 3))
    assert [one.order_id for one in (*first, *rest)] == ["order-5", "order-1", "order-3", "order-2", "order-4"]


async def test_a_second_answer_takes_the_place_of_the_first_and_the_oldest_are_let_go_of(db):
    await db.write(lambda tx: [surveys.put(tx, answer(1, 2, words="Meh.")), surveys.put(tx, answer(1, 5, NOON + 9, words="Good."))])
    found = db.read(lambda tx: surveys.of(tx, "order-1"))
    assert (found.score, found.words, found.at, found.changed_at) == (5, "Good.", NOON, NOON + 9)
    assert await db.write(lambda tx: kept.forget(tx, NOON + surveys.KEPT_S)) == 0
    assert await db.write(lambda tx: kept.forget(tx, NOON + surveys.KEPT_S + 1)) == 1
    assert db.read(lambda tx: surveys.of(tx, "order-1")) is None


async def test_a_choice_follows_its_customer_through_merges_and_the_last_one_holds(db):
    def said(tx) -> None:
        for old, new in (
            ("c-1", "c-2"),
            ("c-2", "c-3"),
            ("c-4", "c-3"),
            ("c-3", "c-1"),
        ):  # a ring, which cannot be made here, is no end either
            tx.run("INSERT INTO aliases (old_id, new_id) VALUES (?, ?)", (old, new))
        kept.put_preferences(tx, "c-1", Preferences(off=("sms",)), NOON)
        kept.put_preferences(tx, "c-4", Preferences(off=("mail",)), NOON - 1)

    await db.write(said)
    read = lambda who: db.read(lambda tx: kept.preferences(tx, who)).off  # noqa: E731
    assert (read("c-3"), read("c-2"), read("c-4"), read("c-9")) == (("sms",), ("sms",), ("mail",), ())
    await db.write(lambda tx: kept.put_preferences(tx, "c-3", Preferences(), NOON + 1))
    assert read("c-3") == ()


async def test_a_browser_hears_of_an_order_and_the_oldest_makes_room(db):
    for n in range(kept.BROWSERS_MAX + 2):
        await db.write(lambda tx, n=n: kept.subscribe(tx, f"s-{n:02}", "order-1", "c-1", f"{n}", NOON + n))
    await db.write(lambda tx: kept.subscribe(tx, "s-99", "order-2", "c-1", "other", NOON))
    assert [doc for _, doc in db.read(lambda tx: kept.subscriptions(tx, "order-1"))] == [str(n) for n in range(2, kept.BROWSERS_MAX + 2)]
    assert db.read(lambda tx: kept.subscriptions(tx, "order-2")) == [("s-99", "other")]


async def test_an_order_has_its_first_telephone_whose_count_goes_up_only(db):
    first, second = (Passkey(order_id="order-1", credential=name, counter=2**32 - 2, made_at=NOON) for name in ("first", "second"))
    assert [await db.write(lambda tx, one=one: passkeys.add(tx, one)) for one in (first, second)] == [True, False]
    counts = [("first", 2**32 - 1), ("first", 2**32 - 1), ("first", 0), ("second", 2**32)]
    counted = [await db.write(lambda tx, c=c, n=n: passkeys.count(tx, "order-1", c, n)) for c, n in counts]
    assert counted == [True, False, False, False] and db.read(lambda tx: passkeys.of(tx, "order-1")).counter == 2**32 - 1
    assert [await db.write(lambda tx: passkeys.end(tx, "order-1")) for _ in range(2)] == [True, False]


async def test_a_question_is_taken_once_by_its_own_order_for_its_own_purpose_in_time(db):
    for name in ("one", "two"):
        await db.write(lambda tx, name=name: passkeys.ask(tx, name, "order-1", "confirm", NOON + 120))
    assert db.read(lambda tx: [passkeys.asked(tx, "order-1", NOON), passkeys.asked(tx, "order-2", NOON)]) == [2, 0]
    tries = [
        ("order-2", "confirm", NOON),
        ("order-1", "make", NOON),
        ("order-1", "confirm", NOON + 120),
        *[("order-1", "confirm", NOON + 119)] * 2,
    ]
    taken = [await db.write(lambda tx, o=o, p=p, at=at: passkeys.take(tx, "one", o, p, at)) for o, p, at in tries]
    assert taken == [False, False, False, True, False]
    await db.write(lambda tx: passkeys.add(tx, Passkey(order_id="order-1", credential="first", counter=0, made_at=NOON)))
    forgot = [
        await db.write(lambda tx, at=at: passkeys.forget(tx, at)) for at in (NOON + 119, NOON + 120, NOON + KEPT_S, NOON + KEPT_S + 1)
    ]
    assert forgot == [0, 1, 0, 1], "an order without a booking needs no telephone"
