"""The product holds to the picture of who may import whom, and the reader that says so notices every way of leaving it."""

from pathlib import Path

import pytest

from tests.import_rules import ONE_IMPORTER, Breach, breaches, looks_like_sql

ROOT = Path(__file__).parents[1]


def plant(root: Path, files: dict[str, str]) -> list[Breach]:
    """Write a small tree under `root` and have it judged."""
    for path, text in files.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return breaches(root)


def test_the_product_holds_to_the_picture() -> None:
    found = breaches(ROOT)
    assert not found, "\n" + "\n".join(map(str, found))


def test_a_tree_as_drawn_has_no_breach(tmp_path: Path) -> None:
    assert plant(tmp_path, GOOD) == []


GOOD = {
    "shared/model.py": "import datetime\nimport msgspec\n\ndef at(now: datetime.datetime): return now.timestamp()\n",
    "shared/passes.py": "from cryptography.hazmat.primitives.asymmetric import ed25519\nfrom shared.model import at\n",
    "shared/runtime/database.py": "import sqlite3\nBEGIN = 'BEGIN IMMEDIATE'\n",
    "shared/runtime/mqtt.py": "import paho.mqtt.client\nfrom shared.errors import Unavailable\n",
    "shared/errors.py": "class Unavailable(Exception):\n    '''SELECT nothing FROM nowhere.'''\n",
    "shared/ledger/claims.py": "from shared import model\nfrom shared.runtime import database\nTAKE = 'INSERT INTO claims VALUES (1)'\n",
    "site_agent/store/bookings.py": "from shared.ledger import claims\nFIND = 'select * from bookings'\n",
    "site_agent/store/board.py": "from site_agent.store import bookings\n",
    "site_agent/services/booking.py": "from site_agent import ports\nfrom ..store import bookings\nfrom shared.ledger import claims\n",
    "site_agent/ports.py": "from shared import model\n",
    "site_agent/web/staff.py": "from litestar import get\nfrom site_agent.services import booking\nfrom site_agent.store import board\n",
    "site_agent/devices/lan.py": "from site_agent.ports import *\nimport httpx\n",
    "site_agent/jobs.py": "from site_agent.services import booking\n",
    "site_agent/app.py": "from site_agent.web import staff\nfrom site_agent.devices import lan\nfrom site_agent import jobs\n",
    "site_agent/__main__.py": "from site_agent import app\nif __name__ == '__main__':\n    app.run()\n",
    "cloud_hub/vendors/sms.py": "import twilio\nfrom cloud_hub.ports import *\n",
    "cloud_hub/ports.py": "",
    "deploy/world.py": "import site_agent.app\nimport cloud_hub.vendors.sms\n",
}


@pytest.mark.parametrize(
    ("path", "text", "said"),
    [
        ("shared/slots.py", "import litestar", "pure code may not import litestar"),
        ("shared/slots.py", "import time", "pure code may not import time"),
        ("shared/slots.py", "def f():\n    from random import choice", "pure code may not import random"),
        ("shared/slots.py", "import cryptography", "pure code may not import cryptography"),
        ("shared/slots.py", "import datetime\ndef f(): return datetime.datetime.now()", "may not call datetime.now()"),
        ("shared/slots.py", "from uuid import uuid4\ndef f(): return uuid4()", "may not call uuid4()"),
        ("shared/slots.py", "def f(): return open('x')", "may not call open()"),
        ("shared/slots.py", "from shared.ledger import claims", "pure may not import ledger"),
        ("shared/slots.py", "from .runtime import mqtt", "pure may not import runtime"),
        ("shared/slots.py", "import site_agent.ports", "shared may not import site_agent.ports"),
        ("shared/runtime/web.py", "from shared import model", "runtime may not import pure (shared.model)"),
        ("shared/runtime/web.py", "from shared.ledger import claims", "runtime may not import ledger"),
        ("shared/ledger/holds.py", "import httpx", "ledger may not import httpx"),
        ("shared/extra/thing.py", "", "stands in no room"),
        ("site_agent/helpers.py", "", "stands in no room"),
        ("site_agent/services/x.py", "import cloud_hub.ports", "site_agent may not import cloud_hub.ports"),
        ("cloud_hub/services/x.py", "from site_agent import ports", "cloud_hub may not import site_agent.ports"),
        ("cloud_hub/services/x.py", "import deploy.world", "cloud_hub may not import deploy.world"),
        ("cloud_hub/services/x.py", "from tests import brokers", "cloud_hub may not import tests"),
        ("cloud_hub/services/x.py", "from cloud_hub.vendors import sms", "services may not import vendors"),
        ("site_agent/services/x.py", "from site_agent.web import staff", "services may not import web"),
        ("site_agent/web/x.py", "from site_agent.store import bookings", "web may not import store (site_agent.store.bookings)"),
        ("site_agent/web/x.py", "from site_agent.devices import lan", "web may not import devices"),
        ("site_agent/web/x.py", "from shared.ledger import claims", "web may not import ledger"),
        ("site_agent/store/x.py", "from site_agent.services import booking", "store may not import services"),
        ("site_agent/jobs.py", "from site_agent.store import bookings", "jobs may not import store"),
        ("site_agent/ports.py", "from shared.runtime import database", "ports may not import runtime"),
        ("site_agent/devices/x.py", "from ..services import booking", "devices may not import services"),
        ("site_agent/web/x.py", "def f(db): db.execute('SELECT 1 FROM claims')", "SQL lives in"),
        ("site_agent/web/x.py", "def f(db, t): db.execute(f'DELETE FROM {t}')", "SQL lives in"),
        ("shared/runtime/web.py", "PRAGMA = 'PRAGMA journal_mode=WAL'", "SQL lives in"),
        ("shared/runtime/web.py", "import logging\nlogging.basicConfig()", "something happens on import"),
        ("shared/runtime/web.py", "import litestar\napp = litestar.Litestar([])", "something is built on import: Litestar"),
        ("shared/runtime/web.py", "for x in ():\n    pass", "a for at the top level"),
        ("site_agent/web/x.py", "from __future__ import annotations\nfrom litestar import get", "may not postpone its annotations"),
        (
            "site_agent/web/x.py",
            "from typing import TYPE_CHECKING\nfrom litestar import post\nif TYPE_CHECKING:\n    from shared import model",
            "may not import under TYPE_CHECKING",
        ),
    ],
)
def test_a_tree_that_leaves_the_picture_is_told_where(tmp_path: Path, path: str, text: str, said: str) -> None:
    found = plant(tmp_path, GOOD | {path: text})
    assert [breach.path for breach in found] == [path], found
    assert said in found[0].what


@pytest.mark.parametrize("library", ONE_IMPORTER)
def test_a_second_file_that_imports_a_library_of_one_is_noticed(tmp_path: Path, library: str) -> None:
    once = {"shared/runtime/one.py": f"import {library}"}
    twice = once | {"deploy/two.py": f"def f():\n    from {library}.inner import thing"}
    assert plant(tmp_path / "once", once) == []
    told = {(breach.path, breach.line) for breach in plant(tmp_path / "twice", twice)}
    assert told == {("shared/runtime/one.py", 1), ("deploy/two.py", 2)}


@pytest.mark.parametrize("text", ["select id from bookings", "  UPDATE line SET at = :at", "create table x (a)", "SAVEPOINT one", "BEGIN"])
def test_statements_look_like_sql(text: str) -> None:
    assert looks_like_sql(text)


@pytest.mark.parametrize("text", ["Select a day from the list.", "update", "Delete it from the book?", "create a booking", "Released"])
def test_sentences_do_not_look_like_sql(text: str) -> None:
    assert not looks_like_sql(text)
