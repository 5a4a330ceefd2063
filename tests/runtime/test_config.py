"""Configuration files: understood wholly, or one sentence that names file and key."""

import logging
from pathlib import Path

import msgspec
import pytest

from shared.runtime.config import ConfigError, load, resolve, secret, table


class Broker(msgspec.Struct, forbid_unknown_fields=True):
    host: str
    port: int = 1883


class Door(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    pulse_s: float = 5.0


class Config(msgspec.Struct, forbid_unknown_fields=True):
    site_id: str
    broker: Broker
    doors: list[Door] = []
    named: dict[str, Door] = {}
    backup: Broker | None = None


GOOD = 'site_id = "bedford"\n[broker]\nhost = "127.0.0.1"\n'


def written(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "site.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_good_file_is_read(tmp_path):
    config = load(written(tmp_path, GOOD + 'port = 1884\n[[doors]]\nid = "front"\n'), Config)
    assert config == Config("bedford", Broker("127.0.0.1", 1884), [Door("front")])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (GOOD + "prot = 1\n", ["'broker.prot'", "Did you mean 'broker.port'?"]),
        ('sight_id = "x"\n' + GOOD, ["'sight_id'", "'site_id'"]),
        ("zzz = 1\n" + GOOD, ["'zzz'", "Known here: backup, broker, doors, named, site_id"]),
        (GOOD + '[[doors]]\nid = "a"\npulse = 3\n', ["'doors[0].pulse'", "'doors[0].pulse_s'"]),
        (GOOD + '[named.x]\nid = "a"\nputse_s = 3\n', ["putse_s", "pulse_s"]),
        (GOOD + '[backup]\nhots = "a"\n', ["'backup.hots'", "'backup.host'"]),
        (GOOD + 'port = "1883"\n', ["'broker.port'", "expected int"]),
        (GOOD + "port = true\n", ["'broker.port'"]),
        ('[broker]\nhost = "x"\n', ["'site_id'", "missing"]),
        ('site_id = "x"\n[broker]\n', ["'broker.host'", "missing"]),
        ("site_id = \n", ["not valid TOML", "line 1"]),
        (b'site_id = "\xff"', ["not valid TOML"]),
        (b"#" * 1_100_000, ["larger than"]),
    ],
)
def test_a_wrong_file_refuses_and_names_file_and_key(tmp_path, text, words):
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as refused:
        load(path, Config)
    told = str(refused.value)
    assert told.startswith(str(path)) and told[-1] in ".?" and all(word in told for word in words), told


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(ConfigError, match="nothing.toml: the file cannot be read .no such file"):
        load(tmp_path / "nothing.toml", Config)
    with pytest.raises(ConfigError, match="is a directory"):
        load(tmp_path, Config)


def test_a_struct_that_would_let_unknown_keys_pass_is_a_mistake_of_ours(tmp_path):
    class Loose(msgspec.Struct):
        x: int = 1

    class Outer(msgspec.Struct, forbid_unknown_fields=True):
        inner: list[Loose] = []

    with pytest.raises(TypeError, match="Loose"):
        load(written(tmp_path, ""), Outer)


def test_a_table_kept_as_it_stood_is_read_as_strictly_later():
    class Pigeon(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        loft: str
        wings: int = 2

    assert table({"loft": "north"}, Pigeon, "hub.toml, [channels.pigeon]") == Pigeon("north")
    for wrong, words in (
        ({"lofd": "x"}, "no setting 'lofd'. Did you mean 'loft'"),
        ({}, "'loft' is missing"),
        ({"loft": 7}, "'loft' is wrong"),
    ):
        with pytest.raises(ConfigError, match=r"hub.toml, \[channels.pigeon\]: .*" + words):
            table(wrong, Pigeon, "hub.toml, [channels.pigeon]")


def test_a_table_into_a_struct_that_would_let_unknown_keys_pass_is_a_mistake_of_ours():
    class Loose(msgspec.Struct):
        loft: str = ""

    with pytest.raises(TypeError, match="forbid_unknown_fields"):
        table({}, Loose, "hub.toml")


def test_relative_paths_are_relative_to_the_config(tmp_path):
    assert resolve("data/site.db", tmp_path / "site.toml") == tmp_path / "data/site.db"
    assert resolve(tmp_path / "x", "elsewhere/site.toml") == tmp_path / "x"


def test_a_secret_comes_in_place_or_from_a_file(tmp_path, caplog):
    file = tmp_path / "key"
    file.write_text("s3cret\n")
    file.chmod(0o600)
    with caplog.at_level(logging.WARNING):
        assert secret("x", "", tmp_path, key="k") == "x" and secret("", "", tmp_path, key="k") == ""
        assert secret("", "key", tmp_path, key="k") == "s3cret" == secret("", str(file), "/", key="k")
    assert not caplog.records


def test_a_secret_file_open_to_all_is_warned_of_without_its_content(tmp_path, caplog):
    file = tmp_path / "key"
    file.write_text("s3cret")
    file.chmod(0o644)
    with caplog.at_level(logging.WARNING):
        assert secret("", "key", tmp_path, key="broker.password") == "s3cret"
    assert caplog.records[0].message == "config.secret_file_open_to_all" and "s3cret" not in str(vars(caplog.records[0]))


def test_a_secret_that_cannot_be_had_refuses(tmp_path):
    (tmp_path / "empty").write_text(" \n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for file, words in (("none", "cannot be read"), ("empty", "is empty"), ("binary", "cannot be read")):
        with pytest.raises(ConfigError, match=f"k_file: .*{words}"):
            secret("", file, tmp_path, key="k")
    with pytest.raises(ConfigError, match="either k or k_file"):
        secret("x", "y", tmp_path, key="k")
