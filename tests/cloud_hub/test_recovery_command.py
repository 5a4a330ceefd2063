"""`cloud-hub grant | restore | rebuild | vouch | recovery-key` against real files: what each leaves in the books, and every way to be refused."""

import asyncio
import re
import shutil
import sqlite3
from pathlib import Path

import pytest

from cloud_hub import recovery as words
from cloud_hub.__main__ import main
from cloud_hub.app import DATABASE, build
from cloud_hub.config import load
from cloud_hub.store import folder, settings
from shared import recovery
from shared.ledger import boxes, records, streams
from shared.runtime import sealed
from shared.runtime.database import Tx, connect
from shared.runtime.mark import MarkFile
from tests.cloud_hub.test_command import Running

SECRET, RECIPIENT = sealed.new_identity()
SEED = recovery.secret_text(bytes(range(32)))
PUBLIC = recovery.public_text(recovery.key_of(SEED))
HEAD = f'hub_id = "hub-1"\ndata_dir = "data"\nmark_file = "stick/mark"\nrecovery_public = "{PUBLIC}"\n[clock]\nrtc = "yes"\n'
SITES = '[[sites]]\nid = "bedford"\nname = "Bedford"\n'
BACKUP = f'[backup]\nto = "vault"\nrecipients = ["{RECIPIENT}"]\n'
CONFIG = HEAD + SITES + BACKUP


@pytest.fixture
def config(tmp_path) -> Path:
    """The path of a config, with a vault, another medium and the operator's two keys beside it."""
    (tmp_path / "operator.key").write_text(f"{SECRET}\n")
    (tmp_path / "recovery.key").write_text(f"# kept in the safe\n{SEED}\n")
    for name in ("vault", "stick"):
        (tmp_path / name).mkdir()
    (tmp_path / "hub.toml").write_text(CONFIG)
    return tmp_path / "hub.toml"


@pytest.fixture
def kept(config, capsys) -> Path:
    """The same, with books of a hub that has run, and a backup of them."""
    live(config)
    assert main(["backup", "now", "--config", str(config)]) == 0
    capsys.readouterr()
    return config


def live(config: Path) -> dict:
    """The hub of this config runs once, from start to stop; what it said of itself."""
    seen = {}

    async def run() -> None:
        app = build(load(config))
        await app.start()
        seen.update(box_id=app.hub.desk.box_id, term=app.hub.desk.term, trouble=app.hub.mark.state().trouble)
        await app.stop()

    asyncio.run(run())
    return seen


def books(config: Path) -> Path:
    return config.parent / "data" / DATABASE


def read(config: Path, fn):
    c = connect(books(config), readonly=True)
    try:
        return fn(Tx(c))
    finally:
        c.close()


def stream(config: Path, site_id: str = "bedford") -> streams.Stream:
    return read(config, lambda tx: streams.read(tx, site_id))


def identity(config: Path) -> tuple[str, int]:
    return read(config, lambda tx: (settings.get(tx, "box_id"), int(settings.get(tx, "term") or 1)))


def restore(config: Path, *more: str, identity: str = "operator.key", key: str = "recovery.key") -> int:
    at = config.parent
    return main(["restore", "--config", str(config), "--identity", str(at / identity), "--recovery-key", str(at / key), *more])


def rebuild(config: Path, *more: str, key: str = "recovery.key") -> int:
    return main(["rebuild", "--from-sites", "--config", str(config), "--recovery-key", str(config.parent / key), *more])


def refused(capsys, exit_code: int) -> str:
    told = capsys.readouterr().err
    assert exit_code == 1 and "Traceback" not in told, (exit_code, told)
    return told


# ---- restore
@pytest.mark.rule("loss-1")
@pytest.mark.rule("loss-5")
def test_a_hub_put_back_is_fenced_under_a_new_term_until_a_person_vouches(kept, capsys):
    before = identity(kept)
    assert restore(kept) == 0
    told = capsys.readouterr().out
    assert "is back, with 0 bookings" in told and "cloud-hub vouch" in told and f"{DATABASE}.before-" in told
    s, (box_id, term) = stream(kept), identity(kept)
    assert "put back from the backup" in s.fenced and s.unvouched and s.closed
    assert box_id != before[0] and term > before[1]
    assert (s.box_id, s.term) == (box_id, term)
    assert live(kept)["term"] == term and stream(kept).fenced


@pytest.mark.rule("loss-5")
def test_each_restore_has_a_higher_term_than_its_books_had(kept, capsys):
    assert restore(kept, "--old-hub-off") == 0
    assert stream(kept).unvouched == ""
    c = sqlite3.connect(books(kept))
    c.execute("UPDATE settings SET value = '99999999999' WHERE name = 'term'")
    c.commit()
    capsys.readouterr()
    assert main(["backup", "now", "--config", str(kept)]) == 0
    assert restore(kept, "--name", capsys.readouterr().out.split()[0]) == 0
    assert identity(kept)[1] == 100_000_000_000


@pytest.mark.rule("loss-1")
def test_a_site_enrolled_after_the_backup_is_fenced_like_the_others(kept):
    kept.write_text(CONFIG.replace(SITES, SITES + SITES.replace("bedford", "dartmouth")))
    assert restore(kept) == 0
    assert stream(kept, "dartmouth").fenced and stream(kept, "dartmouth").unvouched


@pytest.mark.rule("loss-1")
@pytest.mark.parametrize("word", ["restore", "rebuild"])
def test_the_mark_on_the_other_medium_stands_in_nobodys_way(kept, word):
    if word == "rebuild":
        shutil.rmtree(kept.parent / "data")
    assert (restore(kept) if word == "restore" else rebuild(kept)) == 0
    hub = Running(kept)
    try:
        assert hub.port and hub.get("/health/ready") in (200, 503), hub.lines
    finally:
        assert hub.end() == 0
    assert not [line for line in hub.lines if line["event"] == "mark.failing"]
    assert f'"box_id":"{identity(kept)[0]}"'.encode() in MarkFile(kept.parent / "stick" / "mark").read()


def test_the_same_mark_stops_a_hub_that_lost_its_books_and_was_not_put_back(kept, capsys):
    shutil.rmtree(kept.parent / "data")
    assert "another box" in refused(capsys, main(["run", "--config", str(kept), "--port", "0"]))


def test_passes_and_customers_links_from_before_stay_good(kept):
    names = ("passes.key", "customer-links.key")
    before = {name: (kept.parent / "data" / "keys" / name).read_bytes() for name in names}
    shutil.rmtree(kept.parent / "data")
    assert restore(kept) == 0
    assert {name: (kept.parent / "data" / "keys" / name).read_bytes() for name in names} == before


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"identity": "other.key"}, "does not fit"),
        ({"identity": "gone.key"}, "cannot be read"),
        ({"key": "gone.key"}, "cannot be read"),
        ({"key": "operator.key"}, "This is no recovery key"),
        ({"key": "cut.key"}, "damaged"),
        ({"key": "another.key"}, "not the recovery key of this hub"),
    ],
)
def test_with_a_wrong_key_nothing_is_changed(kept, capsys, wrong, told):
    at = kept.parent
    (at / "other.key").write_text(sealed.new_identity()[0])
    (at / "cut.key").write_text(SEED[:-9])
    (at / "another.key").write_text(recovery.secret_text(bytes(32)))
    before = books(kept).read_bytes()
    said = refused(capsys, restore(kept, **wrong))
    assert told in said and SEED[20:] not in said
    assert books(kept).read_bytes() == before and not list(at.glob(f"data/{DATABASE}.before-*"))


def test_another_hubs_backup_is_refused_by_its_name(kept, capsys):
    kept.write_text(CONFIG.replace('"hub-1"', '"hub-2"'))
    (kept.parent / "vault" / "hub-hub-1").rename(kept.parent / "vault" / "hub-hub-2")
    before = books(kept).read_bytes()
    assert "is of the hub hub-1, not of hub-2. The books were not changed." in refused(capsys, restore(kept))
    assert books(kept).read_bytes() == before
    shutil.rmtree(kept.parent / "data")
    assert "is of the hub hub-1" in refused(capsys, restore(kept))
    assert not [path for path in (kept.parent / "data").rglob("*") if path.suffix in (".key", ".fresh", ".db")]


def test_stopped_by_hand_a_command_says_so_in_a_sentence(kept, capsys, monkeypatch):
    monkeypatch.setattr("shared.runtime.database_put_back.take_place", lambda *a: (_ for _ in ()).throw(KeyboardInterrupt))
    before = books(kept).read_bytes()
    assert restore(kept) == 130
    assert "Stopped by hand" in capsys.readouterr().err and books(kept).read_bytes() == before


def test_a_backup_that_is_not_there_is_a_sentence(kept, capsys):
    assert "There is no backup named '20200101" in refused(capsys, restore(kept, "--name", "20200101T000000Z-aaaa"))
    shutil.rmtree(kept.parent / "vault" / "hub-hub-1")
    assert "There is no backup yet" in refused(capsys, restore(kept))
    kept.write_text(HEAD + SITES)
    assert "no [backup] table" in refused(capsys, restore(kept))


def test_without_a_recovery_key_in_the_config_the_sentence_says_how_to_get_one(kept, capsys):
    kept.write_text(CONFIG.replace(f'recovery_public = "{PUBLIC}"\n', ""))
    assert "recovery-key create" in refused(capsys, restore(kept))


@pytest.mark.parametrize("word", ["restore", "rebuild"])
def test_beside_a_running_hub_nothing_is_done(kept, capsys, word):
    before = books(kept).read_bytes()
    with folder.hold(kept.parent / "data"):
        assert "running" in refused(capsys, restore(kept) if word == "restore" else rebuild(kept))
    assert books(kept).read_bytes() == before


@pytest.mark.rule("loss-1")
@pytest.mark.parametrize("word", ["restore", "rebuild"])
def test_killed_in_the_middle_a_command_leaves_no_books_that_would_sell(kept, monkeypatch, word):
    if word == "rebuild":
        shutil.rmtree(kept.parent / "data")
    before = books(kept).read_bytes() if word == "restore" else None

    def killed(*_: object, **__: object) -> None:
        raise GeneratorExit  # nothing of ours catches it

    monkeypatch.setattr(words, "_begin_term", killed)
    with pytest.raises(GeneratorExit):
        restore(kept) if word == "restore" else rebuild(kept)
    assert (books(kept).read_bytes() if books(kept).exists() else None) == before
    monkeypatch.undo()
    assert (restore(kept) if word == "restore" else rebuild(kept)) == 0
    assert stream(kept).fenced


# ---- rebuild
@pytest.mark.rule("loss-6")
def test_a_rebuilt_hub_is_empty_fenced_and_knows_its_sites(config, capsys):
    assert rebuild(config) == 0
    told = capsys.readouterr().out
    assert "1 sites will fill them" in told and "cloud-hub vouch" in told
    s = stream(config)
    assert s.hub_id == "hub-1" and s.fenced and s.unvouched and not s.epoch
    assert live(config)["term"] == identity(config)[1] > 1


def test_books_that_are_there_are_not_rebuilt_over(kept, capsys):
    before = books(kept).read_bytes()
    assert "There are books" in refused(capsys, rebuild(kept))
    assert books(kept).read_bytes() == before


def test_a_rebuild_needs_the_recovery_key_and_the_word_where_from(config, capsys):
    (config.parent / "another.key").write_text(recovery.secret_text(bytes(32)))
    assert "not the recovery key" in refused(capsys, rebuild(config, key="another.key"))
    assert not books(config).exists()
    with pytest.raises(SystemExit) as wrong:
        main(["rebuild", "--config", str(config), "--recovery-key", str(config.parent / "recovery.key")])
    assert wrong.value.code == 2


# ---- vouch
@pytest.mark.rule("loss-5")
def test_a_person_vouches_that_the_old_hub_is_off(kept, capsys):
    assert restore(kept) == 0
    assert main(["vouch", "--config", str(kept), "--by", "Testa Birdie"]) == 0
    assert "counts as off" in capsys.readouterr().err
    assert stream(kept).unvouched == "" and stream(kept).fenced
    journal = read(kept, lambda tx: records.journal_of(tx, "bedford"))
    assert ("Testa Birdie", "vouched that the old box is off") in {row[1:3] for row in journal}


# ---- grant
@pytest.mark.rule("loss-5")
def test_a_grant_is_printed_once_and_kept_as_a_fingerprint(kept, capsys):
    assert main(["grant", "--config", str(kept), "--site", "bedford"]) == 0
    told = capsys.readouterr()
    term, _, word = told.out.strip().partition(".")
    assert (term, len(told.out.splitlines())) == ("1", 1) and len(word) >= 24 and word not in told.err
    rows = read(kept, lambda tx: tx.all("SELECT term, grant_hash, state FROM boxes"))
    assert rows == [(1, boxes.fingerprint(word), "granted")]
    assert word.encode() not in books(kept).read_bytes()


def test_a_second_grant_ends_the_first(kept, capsys):
    for _ in range(2):
        assert main(["grant", "--config", str(kept), "--site", "bedford"]) == 0
    first, second = capsys.readouterr().out.split()
    rows = read(kept, lambda tx: tx.all("SELECT grant_hash FROM boxes"))
    assert rows == [(boxes.fingerprint(second.partition(".")[2]),)] and first != second


def test_a_running_hub_grants_and_vouches_by_its_tray(kept, capsys):
    assert restore(kept) == 0
    hub = Running(kept)
    try:
        capsys.readouterr()
        assert main(["grant", "--config", str(kept), "--site", "bedford"]) == 0
        word = capsys.readouterr().out.strip().partition(".")[2]
        assert main(["vouch", "--config", str(kept), "--by", "Testa Birdie"]) == 0
    finally:
        assert hub.end() == 0
    assert read(kept, lambda tx: tx.all("SELECT grant_hash FROM boxes")) == [(boxes.fingerprint(word),)]
    assert stream(kept).unvouched == ""


def test_nothing_is_granted_for_a_site_that_is_not_there(kept, config, capsys):
    assert "There is no site 'nowhere'" in refused(capsys, main(["grant", "--config", str(kept), "--site", "nowhere"]))
    kept.write_text(CONFIG.replace(SITES, SITES + SITES.replace("bedford", "dartmouth")))
    assert "not known here" in refused(capsys, main(["grant", "--config", str(kept), "--site", "dartmouth"]))


@pytest.mark.parametrize("word", [("grant", "--site", "bedford"), ("vouch", "--by", "Testa Birdie")])
def test_where_there_are_no_books_a_word_makes_none(config, capsys, word):
    assert "There are no books" in refused(capsys, main([*word, "--config", str(config)]))
    assert not books(config).exists()


# ---- recovery-key
def test_a_recovery_key_is_made_and_its_halves_fit(capsys):
    assert main(["recovery-key", "create"]) == 0
    secret, public = capsys.readouterr().out.splitlines()
    assert recovery.public_text(recovery.key_of(secret)) == public.removeprefix("# public: ")


@pytest.mark.rule("loss-6")
def test_a_signed_statement_holds_for_its_site_and_hub_alone(tmp_path, capsys):
    (tmp_path / "key").write_text(SEED)
    assert main(["recovery-key", "sign", "--recovery-key", str(tmp_path / "key"), "--site", "bedford", "--hub", "hub-2"]) == 0
    signed = capsys.readouterr().out.strip()
    assert re.fullmatch(r"[A-Za-z0-9_=-]+", signed)
    assert recovery.holds(PUBLIC, recovery.marriage("bedford", "hub-2"), signed)
    assert not recovery.holds(PUBLIC, recovery.marriage("bedford", "hub-3"), signed)
    assert not recovery.holds(PUBLIC, recovery.marriage("dartmouth", "hub-2"), signed)
    (tmp_path / "key").write_text("no key")
    assert "This is no recovery key" in refused(
        capsys, main(["recovery-key", "sign", "--recovery-key", str(tmp_path / "key"), "--site", "bedford", "--hub", "hub-2"])
    )
