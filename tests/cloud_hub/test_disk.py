"""The hub on a disk that fills up or is damaged: red, a sentence, nothing confirmed that is not kept, and well again without a restart."""

import sqlite3

import httpx
import pytest

from cloud_hub import app as hub_app
from cloud_hub.__main__ import main
from cloud_hub.config import load
from shared.errors import Unavailable
from shared.runtime import database, database_disk
from tests.ledger.test_disk_trouble import garble, until
from tests.mounts import needs_mount, small_disk

CONFIG = 'hub_id = "hub-1"\ndata_dir = "{}"\n[[sites]]\nid = "bedford"\nname = "Bedford"\n'


@pytest.fixture
def disk(tmp_path):
    with small_disk(tmp_path / "disk", "1400k") as found:  # the empty books alone take half a megabyte, and their log as much
        yield found


def config_in(folder, data_dir):
    (folder / "hub.toml").write_text(CONFIG.format(data_dir))
    return folder / "hub.toml"


@needs_mount
async def test_a_full_disk_makes_the_hub_red_until_there_is_room(disk, tmp_path, monkeypatch):
    monkeypatch.setattr(database, "TRY_AGAIN_S", 0.05)
    app = hub_app.build(load(config_in(tmp_path, disk.path / "data")))
    await app.start()
    transport = httpx.ASGITransport(app.asgi, client=("127.0.0.1", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://hub.test") as client:
        well = await client.get("/health/ready")
        assert well.status_code == 200 and well.json()["disk"] == "low"
        disk.fill()
        with pytest.raises(Unavailable, match="disk of this machine is full"):
            for number in range(500):
                await app.hub.db.write(lambda tx, n=number: tx.run("INSERT INTO settings VALUES (:n, :v)", {"n": f"n{n}", "v": "x" * 4000}))
        red = await client.get("/health/ready")
        assert (red.status_code, red.json()["code"]) == (503, "unavailable") and red.headers["retry-after"]
        numbers = (await client.get("/metrics")).text
        assert "hub_books_failing 1.0" in numbers and "hub_disk_low 1.0" in numbers
        disk.make_room()
        await until(lambda: not app.hub.db.failing, "room is found without a restart")
        assert (await client.get("/health/ready")).status_code == 200
        kept = app.hub.db.read(lambda tx: tx.one("SELECT COUNT(*) FROM settings WHERE name LIKE 'n%'"))
    await app.stop()
    assert kept == (number,), "what was answered is kept, and nothing else"


def test_damaged_books_refuse_the_start_with_a_sentence(tmp_path, capsys):
    config = config_in(tmp_path, tmp_path / "data")
    assert main(["key", "create", "--config", str(config), "--name", "reports", "--scope", "sites:read"]) == 0
    books = tmp_path / "data" / hub_app.DATABASE
    with sqlite3.connect(books) as c:
        page = c.execute("SELECT rootpage FROM sqlite_master WHERE name = 'claims'").fetchone()[0]
    c.close()
    garble(books, page)
    database_disk.mark_damaged(books)
    capsys.readouterr()
    assert main(["run", "--config", str(config), "--port", "0"]) == 1
    said = capsys.readouterr().err
    assert "Put them back from a backup" in said and "Traceback" not in said
