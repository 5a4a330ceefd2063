"""Two replicas of the hub on one PostgreSQL database, interleaved statement by statement: no slot sold twice, no sale never sent.

Each twin takes one lock away, and the same seeds must then find the harm.
"""

import itertools

import pytest

from shared.ledger import locked
from tests import replicas
from tests.replicas import Books, Harm, Play

pytestmark = [pytest.mark.needs_postgres, pytest.mark.rule("terr-1"), pytest.mark.rule("stream-1")]

DAILY = 15
THOROUGH = 400
#: as many seeds as a twin has to be found out in
PATIENCE = 150


@pytest.fixture
def books(postgres):
    made = []

    def make(tx=replicas.pg.PostgresTx):
        made.append(Books(postgres.books(), tx))
        return made[-1]

    yield make
    for b in made:
        b.close()


def harms(books, words, first=1):
    """Plays seeds from `first` on until each of the words was found; returns what was found, told by its first word."""
    found: dict[str, str] = {}
    for seed in itertools.count(first):
        if words <= found.keys() or seed > first + PATIENCE:
            return found
        try:
            Play(books, seed).run()
        except Harm as e:
            found.setdefault(str(e).split(":")[0], str(e))


def play_all(books, seeds):
    """Plays the seeds, each of which raises Harm where the replicas were not as one; statements, and how often one met the other's lock."""
    statements = waits = 0
    for seed in seeds:
        turnstile = Play(books, seed).run()
        statements, waits = statements + turnstile.statements, waits + turnstile.waits
    return statements, waits


def test_two_replicas_sell_release_hold_move_and_cancel_as_one(books):
    statements, waits = play_all(books(), range(1, DAILY + 1))
    assert statements > 80 * DAILY
    assert waits > 10 * DAILY  # they did meet before the lock


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_replicas_are_as_one_for_hundreds_of_seeds(books):
    statements, waits = play_all(books(), range(DAILY + 1, DAILY + THOROUGH + 1))
    assert statements > 80 * THOROUGH
    assert waits > 10 * THOROUGH


def test_without_the_lock_a_number_is_taken_twice_and_only_its_key_keeps_a_sale_from_being_lost(books):
    """The outbox's key turns the second of two equal numbers into a failure, so that nothing wrong is kept, but people see errors."""
    found = harms(books(replicas.Unlocked), {"failed"})
    assert "outbox_pkey" in found["failed"]


def test_with_the_line_read_before_the_lock_a_slot_is_sold_twice(books):
    found = harms(books(replicas.LineBeforeLock), {"double-sale"})
    assert "below the line that the site had been given before" in found["double-sale"]


def test_with_a_booking_read_before_the_lock_it_is_given_up_twice(books, monkeypatch):
    monkeypatch.setattr(locked, "_at_home", lambda tx, sql, row_id: tx.one(sql, {"id": row_id}) is not None)
    found = harms(books(), {"order"}, first=42)  # rare: two who cancel the same booking at the same instant
    assert "a second time" in found["order"]
