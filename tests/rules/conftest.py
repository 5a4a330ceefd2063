"""With `CLUBOS_TEST_BOOKS=postgres` the hub of every world in these tests keeps its books on PostgreSQL."""

import os

import pytest

from shared.ledger import schema
from shared.runtime import postgres as pg
from tests import two_sides


@pytest.fixture(scope="session")
def empty_books() -> list[str]:
    """Addresses of books that earlier tests have left empty: to make the tables costs more than most of these tests."""
    return []


@pytest.fixture(autouse=True)
def books_of_the_hub(request, monkeypatch):
    chosen = os.environ.get("CLUBOS_TEST_BOOKS") or "sqlite"
    if chosen == "sqlite":
        yield
        return
    assert chosen == "postgres", f"CLUBOS_TEST_BOOKS is sqlite or postgres, not {chosen}"
    from tests.postgres import CopiedBooks

    cluster, empty = request.getfixturevalue("postgres"), request.getfixturevalue("empty_books")
    made: list[tuple[str, CopiedBooks]] = []

    def make() -> CopiedBooks:
        url = empty.pop() if empty else cluster.books()
        pg.migrate(url, "ledger", schema.STEPS)
        made.append((url, CopiedBooks(url)))
        return made[-1][1]

    monkeypatch.setattr(two_sides, "hub_books", make)
    yield
    for url, used in made:
        used.session.close()
        books = CopiedBooks(url)
        books.empty()
        books.session.close()
        empty.append(url)
