"""`site-agent restore | adopt | vouch | state-sold | marry` against real files: what each leaves in the books, and every way to be refused."""

import asyncio
import fcntl
import shutil
import sqlite3
from pathlib import Path

import pytest

from shared import recovery
from shared.ledger import records, streams
from shared.runtime import database_disk, sealed
from shared.runtime import database_put_back as put_back
from shared.runtime.database import Tx, connect
from shared.runtime.mark import MarkFile
from site_agent import recovery as words
from site_agent.__main__ import main
from site_agent.app import DATABASE, build
from site_agent.config import load
from site_agent.devices.bay_agent.keys import Keys
from site_agent.store import schema
from tests.mounts import needs_mount, small_disk
from tests.site_agent.site_world import CONFIG, SITE, staff_file

SECRET, RECIPIENT = sealed.new_identity()
RECOVERY = recovery.key_of(recovery.secret_text(bytes(range(32))))
TABLES = f'\n[backup]\nto = "vault"\nrecipients = ["{RECIPIENT}"]\n'
TOP = f'mark_file = "stick/mark"\nrecovery_public = "{recovery.public_text(RECOVERY)}"\n'
GRANT = "2.the-word-of-the-grant"


@pytest.fixture
def site(tmp_path) -> Path:
    """The path of a config, with a vault, another medium and the operator's key beside it."""
    (tmp_path / "site.toml").write_text(TOP + CONFIG + TABLES)
    (tmp_path / "staff.toml").write_text(staff_file())
    (tmp_path / "operator.key").write_text(f"{SECRET}\n")
    for name in ("vault", "stick"):
        (tmp_path / name).mkdir()
    return tmp_path / "site.toml"


@pytest.fixture
def kept(site, capsys) -> Path:
    """The same, with books of an agent that has run, and a backup of them."""
    live(site)
    assert main(["backup", "now", "--config", str(site)]) == 0
    capsys.readouterr()
    return site


def live(config: Path, do=None) -> None:
    """The agent of this config runs once, from start to stop."""

    async def run() -> None:
        agent = build(load(config))
        await agent.start()
        try:
            if do is not None:
                await do(agent)
        finally:
            await agent.stop()

    asyncio.run(run())


def books(config: Path) -> Path:
    return config.parent / "data" / DATABASE


def stream(config: Path) -> streams.Stream:
    c = connect(books(config), readonly=True)
    try:
        return streams.read(Tx(c), SITE)
    finally:
        c.close()


def restore(config: Path, *more: str, identity: str = "operator.key") -> int:
    return main(["restore", "--config", str(config), "--identity", str(config.parent / identity), *more])


def adopt(config: Path, *more: str, grant: str = GRANT) -> int:
    return main(["adopt", "--config", str(config), "--grant", grant, *more])


def refused(capsys, exit_code: int) -> str:
    """What was said of a command that did not do it."""
    told = capsys.readouterr().err
    assert exit_code == 2 and "Traceback" not in told, (exit_code, told)
    return told


# ---- restore
@pytest.mark.rule("loss-1")
def test_restored_books_are_fenced_and_those_from_before_are_kept(kept, capsys):
    at = books(kept).stat().st_ino
    assert restore(kept, "--same-machine") == 0
    told = capsys.readouterr().out
    assert "is back, with 0 bookings" in told and "Start the agent" in told
    s = stream(kept)
    assert "put back from the backup" in s.fenced and s.closed and not s.unvouched and s.term == 1
    [aside] = kept.parent.glob(f"data/{DATABASE}.before-*")
    assert str(aside) in told and aside.stat().st_ino == at
    live(kept)
    assert stream(kept).fenced


def test_what_the_old_books_had_not_written_into_their_file_does_not_leak_into_the_new_ones(kept):
    c = sqlite3.connect(books(kept), isolation_level=None)
    c.execute("PRAGMA wal_autocheckpoint=0")
    c.execute("UPDATE streams SET sale_no = 77")
    assert books(kept).with_name(f"{DATABASE}-wal").stat().st_size > 0
    assert restore(kept, "--same-machine") == 0
    c.close()
    assert stream(kept).sale_no == 0 and not books(kept).with_name(f"{DATABASE}-wal").exists()
    [aside] = [path for path in kept.parent.glob(f"data/{DATABASE}.before-*") if not path.name.endswith(put_back.TAILS)]
    assert sqlite3.connect(aside).execute("SELECT sale_no FROM streams").fetchone() == (77,)


@pytest.mark.rule("loss-5")
def test_restored_with_a_grant_it_is_another_box_that_waits_for_a_person(kept):
    before = stream(kept)
    assert restore(kept, "--grant", GRANT, "--nothing-sold") == 0
    s = stream(kept)
    assert (s.term, bool(s.fenced), bool(s.unvouched), s.stated) == (2, True, True, 0)
    assert s.box_id != before.box_id and schema.identity(books(kept)) == (2, "the-word-of-the-grant")


def test_words_given_with_the_restore_are_kept_for_the_repair(kept):
    assert restore(kept, "--grant", GRANT, "--old-box-off", "--nothing-sold") == 0
    assert (stream(kept).unvouched, stream(kept).stated) == ("", 1)


@pytest.mark.rule("loss-5")
def test_the_disk_of_a_retired_box_may_serve_again_under_a_new_grant(kept, capsys):
    c = sqlite3.connect(books(kept))
    c.execute("UPDATE streams SET retired = 'A box with term 2 has taken its place.'")
    c.commit()
    assert main(["backup", "now", "--config", str(kept)]) == 0
    name = capsys.readouterr().out.split()[0]
    assert restore(kept, "--name", name, "--same-machine") == 0
    assert stream(kept).retired
    assert restore(kept, "--name", name, "--grant", "3.word") == 0
    assert not stream(kept).retired


@pytest.mark.rule("loss-1")
@pytest.mark.parametrize("how", [("--same-machine",), ("--grant", GRANT)])
def test_the_mark_on_the_other_medium_stands_in_nobodys_way_after_a_restore(kept, how):
    live(kept)
    assert restore(kept, *how) == 0
    seen = {}

    async def look(agent) -> None:
        seen["mark"] = agent.kit.mark.state()

    live(kept, look)
    assert seen["mark"].trouble == "", seen
    assert stream(kept).fenced and MarkFile(kept.parent / "stick" / "mark").read() is not None


def test_passes_signed_before_the_disk_was_lost_stay_good(kept):
    key = (kept.parent / "data" / "signing.key").read_bytes()
    shutil.rmtree(kept.parent / "data")
    assert restore(kept, "--grant", GRANT) == 0
    assert (kept.parent / "data" / "signing.key").read_bytes() == key


def test_a_key_that_is_there_is_not_written_over(kept):
    (kept.parent / "data" / "signing.key").write_bytes(b"n" * 32)
    assert restore(kept, "--same-machine") == 0
    assert (kept.parent / "data" / "signing.key").read_bytes() == b"n" * 32


def test_the_keys_of_the_bays_are_back_on_another_machine_and_none_that_was_ended_since_on_the_same(site):
    live(site)
    keys = Keys(site.parent / "data")
    made = {bay: keys.make(bay) for bay in ("bedford.box-1", "bedford.box-2")}
    assert main(["backup", "now", "--config", str(site)]) == 0
    keys.remove("bedford.box-2")
    assert restore(site, "--same-machine") == 0
    assert keys.there("bedford.box-1") and not keys.there("bedford.box-2")
    shutil.rmtree(site.parent / "data")
    assert restore(site, "--grant", GRANT) == 0
    back = {path.stem: path.read_text().strip() for path in keys.folder.iterdir()}
    assert back == made
    assert not any(path.stat().st_mode & 0o077 for path in (keys.folder, *keys.folder.iterdir()))


@pytest.mark.parametrize("grant", ["2", "2.", ".word", "two.word", "1.word"])
def test_half_a_grant_or_an_old_one_changes_nothing(kept, capsys, grant):
    before = books(kept).read_bytes()
    told = refused(capsys, restore(kept, "--grant", grant, "--old-box-off"))
    assert "grant" in told
    assert books(kept).read_bytes() == before and not list(kept.parent.glob(f"data/{DATABASE}.before-*"))


@pytest.mark.parametrize(
    ("key", "told"),
    [("other.key", "does not fit"), ("gone.key", "cannot be read"), ("site.toml", "holds no secret key")],
)
def test_a_wrong_identity_changes_nothing(kept, capsys, key, told):
    (kept.parent / "other.key").write_text(sealed.new_identity()[0])
    before = books(kept).read_bytes()
    assert told in refused(capsys, restore(kept, "--same-machine", identity=key))
    assert books(kept).read_bytes() == before and not list(kept.parent.glob(f"data/{DATABASE}.before-*"))


def test_another_facilitys_backup_is_refused_by_its_name(kept, capsys):
    c = connect(books(kept))
    c.execute("UPDATE streams SET site_id = 'elsewhere'")
    c.close()
    assert main(["backup", "now", "--config", str(kept)]) == 0
    before = books(kept).read_bytes()
    assert "is of elsewhere, not of bedford. The books were not changed." in refused(capsys, restore(kept, "--same-machine"))
    assert books(kept).read_bytes() == before and not list(kept.parent.glob(f"data/{DATABASE}.before-*"))
    shutil.rmtree(kept.parent / "data")
    assert "is of elsewhere" in refused(capsys, restore(kept, "--grant", GRANT))
    assert {path.name for path in (kept.parent / "data").iterdir()} == {"agent.lock"}  # neither its keys nor its guests


def test_a_grant_that_is_refused_leaves_no_keys_behind(kept, capsys):
    shutil.rmtree(kept.parent / "data")
    assert "This grant is for box 1" in refused(capsys, restore(kept, "--grant", "1.word"))
    assert not [path for path in (kept.parent / "data").iterdir() if path.suffix in (".key", ".fresh", ".db")]


def test_a_recovery_key_that_can_be_none_is_refused_at_the_start_and_not_on_the_day_it_is_needed(site, capsys):
    site.write_text(site.read_text().replace(recovery.public_text(RECOVERY), recovery.public_text(RECOVERY)[:-6]))
    assert "'recovery_public' is wrong" in refused(capsys, main(["run", "--config", str(site)]))


@pytest.mark.parametrize("word", ["restore", "adopt"])
def test_stopped_by_hand_a_command_says_so_in_a_sentence(kept, capsys, monkeypatch, word):
    monkeypatch.setattr("site_agent.recovery.schema.prepare", lambda *a: (_ for _ in ()).throw(KeyboardInterrupt))
    if word == "adopt":
        books(kept).unlink()
    there = sorted(path.name for path in books(kept).parent.glob("*.db"))
    assert (restore(kept, "--same-machine") if word == "restore" else adopt(kept)) == 130
    assert "Stopped by hand" in capsys.readouterr().err
    assert sorted(path.name for path in books(kept).parent.glob("*.db")) == there


def test_a_backup_that_is_not_there_is_a_sentence(site, kept, capsys):
    assert "There is no backup named '20200101" in refused(capsys, restore(kept, "--same-machine", "--name", "20200101T000000Z-aaaa"))
    shutil.rmtree(kept.parent / "vault" / "site-bedford")
    assert "There is no backup yet" in refused(capsys, restore(kept, "--same-machine"))
    site.write_text(TOP + CONFIG)
    assert "no [backup] table" in refused(capsys, restore(site, "--same-machine"))


def test_a_damaged_backup_changes_nothing(kept, capsys):
    [body] = kept.parent.glob("vault/site-bedford/*.age")
    body.write_bytes(body.read_bytes()[:-9])
    before = books(kept).read_bytes()
    assert "is damaged" in refused(capsys, restore(kept, "--same-machine"))
    assert books(kept).read_bytes() == before


def test_it_must_be_said_which_machine_this_is(kept, capsys):
    with pytest.raises(SystemExit) as wrong:
        restore(kept)
    assert wrong.value.code == 2 and "--grant" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        restore(kept, "--grant", GRANT, "--same-machine")


@pytest.mark.rule("loss-1")
@pytest.mark.parametrize("word", ["restore", "adopt"])
def test_killed_in_the_middle_a_command_leaves_no_books_that_would_sell(kept, monkeypatch, word):
    if word == "adopt":
        shutil.rmtree(kept.parent / "data")
    before = books(kept).read_bytes() if word == "restore" else None

    def killed(*_: object) -> None:
        raise GeneratorExit  # nothing of ours catches it

    monkeypatch.setattr(words, "_write", killed)
    with pytest.raises(GeneratorExit):
        restore(kept, "--grant", GRANT) if word == "restore" else adopt(kept)
    assert (books(kept).read_bytes() if books(kept).exists() else None) == before
    monkeypatch.undo()
    assert (restore(kept, "--grant", GRANT) if word == "restore" else adopt(kept)) == 0
    assert stream(kept).fenced


def test_books_of_two_restores_in_one_second_are_both_kept(tmp_path):
    for content in ("first", "second", "third"):
        (tmp_path / "x.fresh").write_text(content)
        put_back.take_place(tmp_path / "x.fresh", tmp_path / "x", 5)
    assert (tmp_path / "x").read_text() == "third"
    assert {path.read_text() for path in tmp_path.glob("x.before-*")} == {"first", "second"}


@pytest.mark.rule("loss-1")
@pytest.mark.parametrize("step", range(4))
def test_old_books_whose_log_could_not_be_taken_in_are_known_for_older_wherever_a_restore_ends(tmp_path, monkeypatch, step):
    """As on a damaged disk: what lies in the log is moved aside, and without it the books are a copy that was set back."""
    (tmp_path / "x").write_text("old")
    (tmp_path / "x-wal").write_text("confirmed sales")
    (tmp_path / "x.damaged").write_text("")
    (tmp_path / "x.fresh").write_text("fenced")
    moved, replace = [], Path.replace

    def damaged(*_: object) -> None:
        raise sqlite3.DatabaseError("file is not a database")

    def killed(path: Path, target: Path) -> Path:
        if len(moved) == step:
            raise GeneratorExit  # nothing of ours catches it
        moved.append(path.name)
        return replace(path, target)

    monkeypatch.setattr(put_back.sqlite3, "connect", damaged)
    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(GeneratorExit):
        put_back.take_place(tmp_path / "x.fresh", tmp_path / "x", 5)
    whole = (tmp_path / "x-wal").exists() or database_disk.torn(tmp_path / "x")
    assert (tmp_path / "x").read_text() == "fenced" or (whole and (tmp_path / "x.damaged").exists()), moved


def test_a_disk_that_takes_no_books_is_a_sentence(kept, capsys, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    before = books(kept).read_bytes()
    monkeypatch.setattr(put_back.os, "fsync", full)
    monkeypatch.setattr(Path, "replace", full)
    assert "no space left" in refused(capsys, restore(kept, "--same-machine"))
    assert books(kept).read_bytes() == before


@needs_mount
def test_a_full_disk_of_the_books_is_not_blamed_on_the_vault(kept, capsys):
    shutil.rmtree(kept.parent / "data")
    with small_disk(kept.parent / "data") as disk:
        disk.fill()
        told = refused(capsys, restore(kept, "--same-machine"))
        assert "backup folder" not in told and "could not be kept on this machine: no space left" in told
        disk.make_room()
        assert restore(kept, "--same-machine") == 0


# ---- adopt
@pytest.mark.rule("loss-5")
def test_an_adopted_box_begins_fenced_under_its_term(site, capsys):
    assert adopt(site) == 0
    told = capsys.readouterr().out
    assert "box 2 of bedford" in told and "site-agent vouch" in told and "site-agent state-sold" in told
    s = stream(site)
    assert (s.term, s.hub_id, bool(s.fenced), bool(s.unvouched)) == (2, "hub-test", True, True)
    seen = {}

    async def look(agent) -> None:
        seen.update(term=agent.desk.term, grant=agent.desk.grant, state=agent.kit.recovery.panel().state)

    live(site, look)
    assert seen == {"term": 2, "grant": "the-word-of-the-grant", "state": "fenced"}


def test_what_a_person_vouches_for_beforehand_is_not_asked_again(site, capsys):
    assert adopt(site, "--old-box-off", "--nothing-sold") == 0
    told = capsys.readouterr().out
    assert "vouch" not in told and "state-sold" not in told
    assert (stream(site).unvouched, stream(site).stated) == ("", 1)


@pytest.mark.rule("loss-1")
def test_the_predecessors_mark_does_not_keep_an_adopted_box_from_starting(kept):
    shutil.rmtree(kept.parent / "data")
    assert adopt(kept) == 0
    seen = {}

    async def look(agent) -> None:
        seen["trouble"] = agent.kit.mark.state().trouble

    live(kept, look)
    assert seen == {"trouble": ""}
    assert b'"term":2' in MarkFile(kept.parent / "stick" / "mark").read()


def test_the_same_mark_stops_a_new_box_that_was_neither_restored_nor_adopted(kept, capsys):
    shutil.rmtree(kept.parent / "data")
    assert "adopt" in refused(capsys, main(["run", "--config", str(kept), "--port", "0"]))


def test_books_that_are_there_are_not_adopted_over(kept, capsys):
    before = books(kept).read_bytes()
    assert "There are books" in refused(capsys, adopt(kept))
    assert books(kept).read_bytes() == before


@pytest.mark.parametrize("grant", ["2", "2.", "word", ""])
def test_half_a_grant_adopts_nothing(site, capsys, grant):
    assert "The grant is not whole" in refused(capsys, adopt(site, grant=grant))
    assert not books(site).exists()


@pytest.mark.parametrize("word", ["restore", "adopt", "marry"])
def test_beside_a_running_agent_nothing_is_done(kept, capsys, word):
    statement = recovery.statement(RECOVERY, recovery.marriage(SITE, "hub-2"))
    do = {
        "restore": lambda: restore(kept, "--same-machine"),
        "adopt": lambda: adopt(kept),
        "marry": lambda: main(["marry", "--config", str(kept), "--hub", "hub-2", "--statement", statement]),
    }
    before = books(kept).read_bytes()
    with open(kept.parent / "data" / "agent.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "An agent is running" in refused(capsys, do[word]())
    assert books(kept).read_bytes() == before


def test_a_folder_that_cannot_be_one_is_a_sentence(site, capsys):
    (site.parent / "data").write_text("")
    assert "cannot be used as a folder" in refused(capsys, adopt(site))


# ---- the person's words
@pytest.mark.rule("loss-4")
@pytest.mark.rule("loss-5")
async def test_vouch_and_state_sold_reach_the_running_agent_in_their_order(site, capsys):
    assert await asyncio.to_thread(adopt, site) == 0
    agent = build(load(site))
    await agent.start()
    try:
        stated = ["state-sold", "--config", str(site), "--by", "Testa Birdie", "--reason", "the paper list"]
        assert "First somebody has to vouch" in refused(capsys, await asyncio.to_thread(main, stated))
        assert await asyncio.to_thread(main, ["vouch", "--config", str(site), "--by", "Testa Birdie"]) == 0
        assert "counts as off" in capsys.readouterr().out and not agent.kit.recovery.panel().unvouched
        assert "how you know" in refused(capsys, await asyncio.to_thread(main, [*stated[:-1], "  "]))
        assert await asyncio.to_thread(main, stated) == 0
        told = agent.kit.db.read(lambda tx: records.journal_of(tx, SITE))
        assert {"vouched that the old box is off", "stated what was sold"} <= {row[2] for row in told}
        assert not list((site.parent / "data" / "recovery").iterdir())
    finally:
        await agent.stop()


@pytest.mark.parametrize("word", [("vouch",), ("state-sold", "--reason", "the paper list")])
def test_without_an_agent_a_persons_word_is_taken_back(kept, capsys, monkeypatch, word):
    monkeypatch.setattr(words, "TAKEN_WITHIN_S", 0.2)
    assert "No running agent took it up" in refused(capsys, main([*word, "--config", str(kept), "--by", "Testa Birdie"]))
    assert not list((kept.parent / "data" / "recovery").iterdir())


# ---- marry
def marry(config: Path, statement: str, hub: str = "hub-2") -> int:
    return main(["marry", "--config", str(config), "--hub", hub, "--statement", statement])


@pytest.mark.rule("loss-6")
def test_a_site_follows_another_hub_by_the_operators_signed_word(kept, capsys):
    assert marry(kept, recovery.statement(RECOVERY, recovery.marriage(SITE, "hub-2"))) == 0
    assert "follows hub-2" in capsys.readouterr().out
    assert stream(kept).hub_id == "hub-2" and stream(kept).closed
    kept.write_text(kept.read_text().replace('hub_id = "hub-test"', 'hub_id = "hub-2"'))
    live(kept)
    assert stream(kept).hub_id == "hub-2"


@pytest.mark.rule("loss-6")
@pytest.mark.parametrize("wrong", ["another site", "another hub", "another key", "nonsense", "empty"])
def test_a_bad_statement_marries_nobody(kept, capsys, wrong):
    other = recovery.key_of(recovery.secret_text(bytes(32)))
    statement = {
        "another site": recovery.statement(RECOVERY, recovery.marriage("dartmouth", "hub-2")),
        "another hub": recovery.statement(RECOVERY, recovery.marriage(SITE, "hub-3")),
        "another key": recovery.statement(other, recovery.marriage(SITE, "hub-2")),
        "nonsense": "this is no statement",
        "empty": "",
    }[wrong]
    assert "is not the operator's word" in refused(capsys, marry(kept, statement))
    assert stream(kept).hub_id == "hub-test"


def test_nobody_is_married_without_a_key_to_check_by_or_without_books(kept, site, capsys):
    statement = recovery.statement(RECOVERY, recovery.marriage(SITE, "hub-2"))
    shutil.rmtree(kept.parent / "data")
    assert "There are no books" in refused(capsys, marry(kept, statement))
    assert not books(kept).exists()
    site.write_text(CONFIG)
    assert "'recovery_public' is missing" in refused(capsys, marry(site, statement))
