"""The judge that stands behind the hostile runs finds what it is there to find: each kind of harm is done once and told."""

import asyncio
import json
import sqlite3

import pytest

from shared.runtime.database import Database, Tx
from tests.api.served import OWN, Judge, note_writes

EDGE = [(b"x-content-type-options", b"nosniff"), (b"x-request-id", b"r-1")]
PROBLEM = {"status": 404, "code": "not_found", "detail": "There is nothing at this address."}


class Judged:
    """An app that answers as it is told and may write to its books, with its judge."""

    def __init__(self, folder):
        self.path, self.findings = folder / "books.db", folder / "findings"
        self.books = sqlite3.connect(self.path, isolation_level=None)
        self.books.execute("PRAGMA journal_mode = WAL")
        self.books.execute("CREATE TABLE claims (slot INTEGER PRIMARY KEY)")
        self.books.execute("CREATE TABLE journal (what TEXT)")

    async def answer(self, status, body, *, kind="application/problem+json", headers=(), harm="", whose=None):
        async def app(scope, receive, send):
            if harm:
                self.books.execute(harm)
            start = {"type": "http.response.start", "status": status, "headers": [*EDGE, (b"content-type", kind.encode()), *headers]}
            await send(start)
            await send({"type": "http.response.body", "body": body if isinstance(body, bytes) else json.dumps(body).encode()})

        async def quiet():
            return None

        async def nobody(message):
            return None

        scope = {"type": "http", "method": "POST", "path": "/api/holds", "query_string": b""}
        await Judge("hub", app, self.path, quiet, self.findings, asyncio.Lock(), whose)(scope, None, nobody)
        lines = self.findings.read_text().splitlines() if self.findings.exists() else []
        return [json.loads(line)["what"] for line in lines]


@pytest.fixture
def judged(tmp_path):
    one = Judged(tmp_path)
    yield one
    one.books.close()


async def test_a_plain_refusal_is_nothing_to_tell(judged):
    assert await judged.answer(404, PROBLEM) == []


async def test_a_refusal_that_took_a_slot_is_told(judged):
    assert await judged.answer(404, PROBLEM, harm="INSERT INTO claims VALUES (7)") == ["a refusal that changed claims"]


async def test_what_a_job_wrote_meanwhile_is_not_laid_to_the_request(judged):
    assert await judged.answer(404, PROBLEM, harm="INSERT INTO claims VALUES (7)", whose=set) == []
    told = await judged.answer(404, PROBLEM, harm="INSERT INTO claims VALUES (8)", whose=lambda: {"claims"})
    assert told == ["a refusal that changed claims"]


async def test_a_transaction_notes_its_tables_for_the_request_that_asked_for_it(tmp_path):
    run, many, write = Tx.run, Tx.many, Database.write
    note_writes()
    db = Database(tmp_path / "books.db")
    try:
        await db.start()
        await db.write(lambda tx: tx.run("CREATE TABLE claims (slot INTEGER PRIMARY KEY)"))
        OWN.set(set())
        await db.write(lambda tx: tx.run("INSERT INTO claims VALUES (7)"))
        with pytest.raises(ZeroDivisionError):
            await db.write(lambda tx: tx.run("UPDATE claims SET slot = 8") / 0)
        assert OWN.get() == {"claims"}
        OWN.set(set())
        await db.write(lambda tx: tx.run("DELETE FROM claims WHERE slot = 9"))
        assert OWN.get() == set()
    finally:
        Tx.run, Tx.many, Database.write = run, many, write
        await db.stop()


async def test_a_refusal_may_stand_in_the_journal(judged):
    assert await judged.answer(404, PROBLEM, harm="INSERT INTO journal VALUES ('a wrong try')") == []


async def test_a_no_of_the_other_side_takes_no_slot_either(judged):
    no = {"status": 409, "code": "slot_taken", "detail": "Somebody has it."}
    assert await judged.answer(409, no, harm="INSERT INTO claims VALUES (7)") == ["a refusal that changed claims"]


async def test_a_sale_may_change_the_books(judged):
    assert await judged.answer(201, {}, kind="application/json", harm="INSERT INTO claims VALUES (7)") == []


async def test_an_error_of_ours_is_told(judged):
    broken = {"status": 500, "code": "internal", "detail": "This is our fault."}
    assert await judged.answer(500, broken) == ["a 5xx that is no 503 with Retry-After"]


async def test_not_being_able_is_allowed_with_a_word_on_when(judged):
    away = {"status": 503, "code": "unavailable", "detail": "Please try again."}
    assert await judged.answer(503, away, headers=[(b"retry-after", b"5")]) == []
    assert await judged.answer(503, away) == ["a 5xx that is no 503 with Retry-After"]


@pytest.mark.parametrize("lacking", ["code", "detail", "status"])
async def test_a_problem_without_its_members_is_told(judged, lacking):
    body = {name: value for name, value in PROBLEM.items() if name != lacking}
    assert await judged.answer(404, body) == ["a problem without code, status or a full sentence"]


async def test_a_refusal_in_plain_text_is_told(judged):
    assert await judged.answer(404, b"Not Found", kind="text/plain") == ["a refusal that is no problem document and no page"]


async def test_a_traceback_in_an_answer_is_told(judged):
    body = {**PROBLEM, "detail": "Traceback (most recent call last)."}
    assert await judged.answer(404, body) == ["internals in the answer"]
