"""The hub's config file: understood wholly, or refused with the key that is wrong."""

import pytest

from cloud_hub.config import load
from shared.runtime.config import ConfigError

GOOD = """
hub_id = "hub-1"
data_dir = "data"
profile = "business"

[http]
port = 8080
public_url = "https://book.example.test"
behind_tls = true
trusted_proxies = ["127.0.0.0/8"]

[mqtt]
host = "broker.example.test"
username = "hub"
password_file = "broker.password"

[rates]
per_address = 1200

[[sites]]
id = "bedford"
name = "Bedford"

[[sites]]
id = "dartmouth"
name = "Dartmouth"
"""


@pytest.fixture
def file(tmp_path):
    (tmp_path / "broker.password").write_text("a secret\n")
    (tmp_path / "broker.password").chmod(0o600)

    def write(text):
        path = tmp_path / "hub.toml"
        path.write_text(text)
        return path

    return write


def test_a_good_file_is_read_with_paths_and_secret(file, tmp_path):
    config = load(file(GOOD))
    assert config.data_dir == tmp_path / "data" and config.mqtt_password == "a secret"
    assert [site.id for site in config.hub.sites] == ["bedford", "dartmouth"]
    assert (config.hub.http.port, config.hub.rates.per_address, config.profile.name) == (8080, 1200, "business")
    assert "secret" not in repr(config)


def test_a_hub_without_a_broker_may_start(file):
    assert load(file('hub_id = "hub-1"\ndata_dir = "d"\nsites = []\n')).hub.mqtt is None


def test_a_profile_may_be_a_file_of_ones_own(file, tmp_path):
    from importlib.resources import files

    (tmp_path / "own.toml").write_text(files("shared.profiles").joinpath("planning.toml").read_text())
    assert load(file(GOOD.replace('profile = "business"', 'profile = "own.toml"'))).profile.name == "planning"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("hub_id =", "hubid ="), "hubid"),
        (('hub_id = "hub-1"', ""), "hub_id"),
        (('hub_id = "hub-1"', 'hub_id = "the hub!"'), "hub_id"),
        (("port = 8080", 'port = "8080"'), "http.port"),
        (("port = 8080", "port = 80800"), "http.port"),
        (("port = 8080", "prot = 8080"), "Did you mean 'http.port'"),
        (('["127.0.0.0/8"]', '["everybody"]'), "trusted_proxies"),
        (('trusted_proxies = ["127.0.0.0/8"]', ""), "trusted_proxies"),
        (("port = 8080", 'port = 8080\nmetrics_from = ["everybody"]'), "metrics_from"),
        (("per_address = 1200", "per_address = 0"), "rates"),
        (('id = "dartmouth"', 'id = "bedford"'), "named twice"),
        (('id = "dartmouth"', 'id = "Dart mouth"'), "sites.id"),
        (('profile = "business"', 'profile = "gone.toml"'), "profile"),
        (('profile = "business"', 'profile = "bussiness"'), "profile"),
        (('"broker.password"', '"gone.password"'), "mqtt.password_file"),
        (("[rates]", 'log_level = "LOUD"\n[rates]'), "log_level"),
        (('profile = "business"', 'profile = "business"\nrecovery_public = "abc"'), "recovery_public"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(file, change, told):
    text = GOOD.replace(*change)
    assert text != GOOD
    with pytest.raises(ConfigError, match=told.replace("(", ".")):
        load(file(text))


SLACK = '[channels.slack]\nhooks = { staff = "slack.hook" }\n'
DIGEST = '[digest]\nzone = "America/Halifax"\n'


def test_the_staffs_digest_is_read_with_what_is_usual(file):
    digest = load(file(GOOD + SLACK + DIGEST)).hub.digest
    assert (digest.zone, digest.at, digest.hook, digest.urgent) == ("America/Halifax", "08:00", "staff", True)
    assert load(file(GOOD)).hub.digest is None


PASSKEY = ('id = "bedford"', 'id = "bedford"\ndoor_check = "passkey"')


@pytest.mark.parametrize("url", ["https://book.example.test", "https://book.example.test:8443/", "http://localhost:8080"])
def test_telephones_may_be_asked_to_confirm(file, url):
    config = load(file(GOOD.replace(*PASSKEY).replace("https://book.example.test", url)))
    assert [site.door_check for site in config.hub.sites] == ["passkey", "none"]


@pytest.mark.parametrize("url", ["", "http://book.example.test", "https://192.0.2.8", "https://[2001:db8::1]", "https://x:port", "book"])
def test_keys_are_made_for_a_name_over_tls_only(file, url):
    with pytest.raises(ConfigError, match="'sites.door_check'|'http.public_url'"):
        load(file(GOOD.replace(*PASSKEY).replace("https://book.example.test", url)))


def test_a_check_that_there_is_not_is_named(file):
    with pytest.raises(ConfigError, match="door_check"):
        load(file(GOOD.replace(*PASSKEY).replace('"passkey"', '"eye"')))


@pytest.mark.parametrize(
    ("tables", "told"),
    [
        (DIGEST, r"\[digest\] needs \[channels.slack\]"),
        (SLACK, r"\[channels.slack\] needs the table \[digest\]"),
        (SLACK + "[digest]\n", "'digest.zone' is missing"),
        (SLACK + DIGEST.replace("Halifax", "Halifacks"), "'digest.zone' is wrong: 'America/Halifacks' is not a time zone"),
        (SLACK + DIGEST + 'at = "8:00"\n', "'digest.at' is wrong: '8:00'"),
        (SLACK + DIGEST + 'at = "24:00"\n', "'digest.at' is wrong"),
        (SLACK + DIGEST + 'hook = "desk"\n', "'digest.hook' is wrong: .* no hook 'desk'"),
        (SLACK + DIGEST + 'urgent = "no"\n', "digest.urgent"),
        (SLACK + DIGEST + 'hock = "desk"\n', "Did you mean 'digest.hook'"),
    ],
)
def test_what_is_wrong_with_the_staffs_digest_is_named(file, tables, told):
    with pytest.raises(ConfigError, match=told):
        load(file(GOOD + tables))


def test_the_level_of_the_log_is_checked(file):
    with pytest.raises(ConfigError, match="log_level"):
        load(file('log_level = "LOUD"\n' + GOOD))
