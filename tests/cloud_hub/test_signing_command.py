"""`cloud-hub keys`: another signing key in good order or at once, from the command line, whether the hub runs or not."""

import msgspec
import pytest

from cloud_hub import jobs
from cloud_hub.__main__ import main
from cloud_hub.services.tray import Tray, Wish
from cloud_hub.store import folder
from shared.ledger.keychain import KeyChain, next_path
from tests.cloud_hub.hub_world import SITE, opened

pytestmark = pytest.mark.rule("pass-1")
CONFIG = 'hub_id = "hub-1"\ndata_dir = "data"\n[[sites]]\nid = "bedford"\nname = "Bedford"\n'


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "hub.toml"
    path.write_text(CONFIG)
    return path


def listed(config, capsys) -> list[str]:
    assert main(["keys", "list", "--config", str(config)]) == 0
    return capsys.readouterr().out.splitlines()


def test_without_a_hub_that_runs(config, capsys, tmp_path):
    assert main(["keys", "list", "--config", str(config)]) == 1 and "no key yet" in capsys.readouterr().err
    assert main(["keys", "rotate", "--config", str(config)]) == 0
    told = capsys.readouterr()
    assert "used once each knows it" in told.err
    in_use, coming = listed(config, capsys)
    first = in_use.split()[0]
    assert in_use.endswith("  in use, known at no site yet") and coming.endswith("  comes next, known at no site yet")
    assert main(["keys", "withdraw", "--now", "--config", str(config)]) == 0
    assert "withdrawn" in capsys.readouterr().err
    new, old = listed(config, capsys)
    assert new == f"{coming.split()[0]}  in use, known at no site yet" and old == f"{first}  withdrawn"
    path = tmp_path / "data" / "keys" / "passes.key"
    assert KeyChain(path).in_use.id == coming.split()[0] and not next_path(path).exists()


def test_withdrawing_says_now(config, capsys):
    with pytest.raises(SystemExit):
        main(["keys", "withdraw", "--config", str(config)])
    assert "--now" in capsys.readouterr().err


@pytest.mark.parametrize(("how", "changed"), [("rotate", False), ("withdraw", True)])
async def test_a_running_hub_takes_the_wish_up(tmp_path, how, changed):
    async with opened(tmp_path) as w:
        hub = w.hub
        data = hub.config.data_dir
        first = hub.keys.newest.id
        folder.wish(data, msgspec.json.encode(Wish(signing_key=how)))
        assert await jobs.take_wishes(hub, Tray(data)) == 1
        assert hub.keys.newest.id != first and bool(hub.keys.ring.find(first).withdrawn) == changed
        assert hub.keys.changing() == (() if changed else (SITE,))
