"""A bay whose books at the hub are not sound: what guests, programs and operators meet, and the commands `halt` and `journal`."""

import msgspec
import pytest

from cloud_hub import jobs
from cloud_hub.__main__ import main
from cloud_hub.services.halts import Lift
from cloud_hub.services.tray import Tray, Wish
from cloud_hub.store import folder, schema
from shared.ledger import lines, records, standing, streams, watch
from shared.ledger.desk import Desk
from shared.runtime.clock import Chance
from shared.runtime.database import InlineWriter
from tests.cloud_hub.hub_world import NOON, SITE

BOX_1 = f"{SITE}.box-1"
CONFIG = f'hub_id = "hub-1"\ndata_dir = "data"\n[[sites]]\nid = "{SITE}"\nname = "Bedford"\n'


def halted(db) -> list[str]:
    return [h.resource_id for h in db.read(lambda tx: standing.halts(tx, SITE))]


async def broken(w) -> None:
    """A slot is taken by a block that nobody knows, and the watch has looked."""
    await w.hub.db.write(lambda tx: tx.run("INSERT INTO claims VALUES (:r, :s, 'block', 'ghost-0001')", {"r": BOX_1, "s": NOON // 900 + 60}))
    await w.hub.watch.look_at_all()


async def test_a_stopped_bay_is_refused_and_shown_and_the_others_go_on(w):
    await broken(w)
    assert halted(w.hub.db) == [BOX_1]
    answer = await w.post("/bookings", w.wish(1, 40))
    assert (answer.status_code, answer.json()["code"]) == (409, "bay_halted")
    assert (await w.post("/bookings", w.wish(2, 40, booking_id="booking-0002", who=2))).status_code == 201
    ready = (await w.client.get("/health/ready")).json()
    assert (ready["status"], ready["halted"]) == ("degraded", {SITE: [BOX_1]})
    w.app.litestar.state["gauges"].read(w.hub)
    assert b'hub_breaches{site="bedford"} 1.0' in w.hub.metrics.render()


async def test_a_lift_left_by_the_command_is_carried_out_by_the_running_hub(w, tmp_path):
    await broken(w)
    wish = Wish(lift=Lift(site_id=SITE, resource_id=BOX_1, by="Testa Birdie", reason="looked at the day"))
    folder.wish(tmp_path, msgspec.json.encode(wish))
    assert await jobs.take_wishes(w.hub, Tray(tmp_path)) == 1
    assert halted(w.hub.db) == [] and (await w.post("/bookings", w.wish(1, 60))).status_code == 201
    rows = w.hub.db.read(lambda tx: records.journal_of(tx, SITE))
    assert ("Testa Birdie", "sales resumed", BOX_1, "looked at the day") in [row[1:] for row in rows]


async def test_a_site_that_says_it_sells_what_the_hub_sells_stops_the_bay(w):
    w.site.db.write_now(lambda tx: lines.begin(tx, SITE, BOX_1, NOON // 900 + 90))
    await w.greeting_until(lambda: halted(w.hub.db) == [BOX_1])
    assert (await w.post("/bookings", w.wish(1, 50))).json()["code"] == "bay_halted"


@pytest.fixture
def books(tmp_path):
    """The books of a hub that is not running, with a bay stopped in them, and its config."""
    config = tmp_path / "hub.toml"
    config.write_text(CONFIG)
    (tmp_path / "data").mkdir(mode=0o700)
    schema.prepare(tmp_path / "data" / "hub.db")
    db, chance = InlineWriter(tmp_path / "data" / "hub.db"), Chance(1)
    desk = Desk("hub", clock=lambda: NOON, new_id=chance.new_id, chance=chance.random)

    def write(tx):
        streams.open_site(tx, SITE, hub_id="hub-1")
        lines.begin(tx, SITE, BOX_1, NOON // 900)
        tx.run("INSERT INTO claims VALUES (:r, :s, 'block', 'ghost-0001')", {"r": BOX_1, "s": NOON // 900 + 60})
        watch.note(tx, desk, watch._ask_bay(tx, BOX_1, watch.Interval(0, 1 << 40)))

    db.write_now(write)
    yield config, db
    db._c.close()


def test_the_command_lists_what_is_stopped_and_lifts_it(books, capsys):
    config, db = books
    assert main(["halt", "list", "--config", str(config)]) == 0
    assert capsys.readouterr().out.startswith(f"{BOX_1}  since 2026-11-21 16:00 UTC: one quarter hour is taken by block ghost-0001")
    said = ["--config", str(config), "--by", "Testa Birdie", "--reason", "looked at the day"]
    assert main(["halt", "lift", "--site", SITE, "--bay", f"{SITE}.box-2", *said]) == 1 and "Nothing is stopped there" in capsys.readouterr().err
    assert main(["halt", "lift", "--site", SITE, "--bay", BOX_1, *said[:-1], "  "]) == 1 and halted(db) == [BOX_1]
    assert main(["halt", "lift", "--site", SITE, "--bay", BOX_1, *said]) == 0 and halted(db) == []
    assert main(["halt", "list", "--config", str(config)]) == 0 and capsys.readouterr().out == ""


def test_the_command_finds_a_changed_row_and_a_journal_written_anew(books, capsys):
    config, db = books
    words = ["journal", "verify", "--config", str(config)]
    assert main(words) == 0
    head = capsys.readouterr().out.splitlines()[1]
    assert main([*words, "--noted", head]) == 0
    db.write_now(lambda tx: tx.run("UPDATE journal SET reason = 'nothing'"))
    assert main(words) == 1 and f"{SITE}: row 1 is not what was written." in capsys.readouterr().err
    db.write_now(lambda tx: (tx.run("DELETE FROM journal"), tx.run("DELETE FROM journal_heads")))
    assert main(words) == 0
    assert main([*words, "--noted", head]) == 1 and "but row 1 was noted" in capsys.readouterr().err


def test_the_command_says_what_is_wrong_with_its_words_and_its_books(tmp_path, capsys):
    config = tmp_path / "hub.toml"
    config.write_text(CONFIG)
    assert main(["journal", "verify", "--config", str(config)]) == 1 and "There are no books" in capsys.readouterr().err
    (tmp_path / "data").mkdir(mode=0o700, exist_ok=True)
    (tmp_path / "data" / "hub.db").write_bytes(b"no database" * 500)
    assert main(["journal", "verify", "--config", str(config)]) == 1 and "cannot be read" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["journal", "verify", "--config", str(config), "--noted", "bedford"])
    assert "as it was printed" in capsys.readouterr().err
