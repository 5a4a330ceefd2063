"""The hub's backups: into a store that speaks S3, by the command and by the clock, seen in health and metrics."""

import asyncio
import time

import pytest

from cloud_hub.__main__ import main
from cloud_hub.app import build
from cloud_hub.config import load
from cloud_hub.services.backups import KEYS, open_backups
from shared.runtime import backup, sealed
from shared.runtime.config import ConfigError
from tests.s3 import BUCKET, store

SECRET, RECIPIENT = sealed.new_identity()
CONFIG = 'hub_id = "hub-1"\ndata_dir = "data"\n[[sites]]\nid = "bedford"\nname = "Bedford"\n'


@pytest.fixture(scope="module")
def endpoint():
    with store() as url:
        yield url


@pytest.fixture
def config(tmp_path, endpoint):
    (tmp_path / "store.id").write_text("test")
    (tmp_path / "store.key").write_text("not-a-secret")
    table = f'[backup]\nrecipients = ["{RECIPIENT}"]\n[backup.s3]\nendpoint = "{endpoint}"\nbucket = "{BUCKET}"\n'
    path = tmp_path / "hub.toml"
    path.write_text(CONFIG + table + 'key_id_file = "store.id"\nsecret_key_file = "store.key"\n')
    asyncio.run(_lived(path))
    return path


async def _lived(path) -> None:
    """Books of a hub that has run."""
    app = build(load(path))
    await app.start()
    await app.stop()


def test_a_backup_goes_to_the_store_and_is_verified_from_there(config, capsys):
    assert main(["backup", "now", "--config", str(config)]) == 0
    name = capsys.readouterr().out.split()[0]
    assert main(["backup", "list", "--config", str(config)]) == 0 and name in capsys.readouterr().out
    assert main(["backup", "verify", name, "--config", str(config)]) == 0
    assert f"{name} is good" in capsys.readouterr().out


def test_the_hubs_keys_are_in_it(config, tmp_path, capsys):
    main(["backup", "now", "--config", str(config)])
    backups = open_backups(load(config), lambda: 0.0, "hub.db")
    (tmp_path / "keys").mkdir()
    note = backup.fetch(backups.vault, backup.newest(backups.vault, time.time()), SECRET, tmp_path / "again.db", keys_to=tmp_path / "keys")
    found = {f"keys/{path.name}" for path in (tmp_path / "keys").iterdir()}
    assert found == set(KEYS) - {"keys/passes.next.key"}, "the next is there only while the key is being changed"
    assert set(note.steps) == {"ledger", "hub"}


def test_a_store_that_is_away_is_a_sentence(config, endpoint, capsys):
    config.write_text(config.read_text().replace(endpoint, "http://127.0.0.1:9"))
    assert main(["backup", "now", "--config", str(config)]) == 1
    assert "does not answer" in capsys.readouterr().err


def test_what_is_written_of_the_store_never_holds_its_key(config, endpoint, capsys):
    config.write_text(config.read_text().replace(BUCKET, "elsewhere"))
    assert main(["backup", "now", "--config", str(config)]) == 1
    said = capsys.readouterr()
    assert "no such bucket" in said.err and "not-a-secret" not in said.err + said.out


def test_a_hub_makes_its_backup_by_the_clock(config):
    async def run() -> tuple[str, str]:
        app = build(load(config))
        await app.start()
        try:
            await app.hub.backups.tick()
            await app.hub.backups.tick()
            return app.hub.backups.panel().status, app.hub.metrics.render().decode()
        finally:
            await app.stop()

    status, metrics = asyncio.run(run())
    assert status == "good" and "hub_backup_drill_ok 1.0" in metrics


@pytest.mark.parametrize(("change", "told"), [(("http://", "ftp://"), "'backup.s3.endpoint'"), ((RECIPIENT, "nobody"), "'nobody' is no recipient")])
def test_a_wrong_table_refuses_and_names_the_key(config, change, told):
    config.write_text(config.read_text().replace(*change))
    with pytest.raises(ConfigError, match=told):
        load(config)
