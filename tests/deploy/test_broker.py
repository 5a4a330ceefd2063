"""The brokers that tests and the demo start: found, started on a port that stays, killed, wiped, and plain about what is wrong."""

import os
import shutil
import socket
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

import deploy.broker
from deploy.broker import (
    BrokerError,
    BrokerTls,
    BrokerUser,
    EmbeddedBroker,
    Mosquitto,
    access_text,
    find_broker,
    password_fits,
    password_line,
)
from shared.runtime.transport import topic_matches
from tests.brokers import USERS, embedded_broker, mosquitto

__all__ = ["embedded_broker", "mosquitto"]

BOTH = pytest.mark.parametrize("which", [pytest.param("mosquitto", marks=pytest.mark.needs_mosquitto), "embedded_broker"])


def accepts(broker):
    with socket.socket() as probe:
        return probe.connect_ex((broker.host, broker.port)) == 0


@BOTH
def test_a_broker_keeps_its_port_over_stop_kill_and_restart(which, request):
    broker = request.getfixturevalue(which)
    port, first = broker.port, broker.pid
    assert broker.running and accepts(broker)
    broker.kill()
    assert not broker.running and not accepts(broker)
    broker.start()
    broker.stop()
    broker.stop()
    assert not accepts(broker)
    broker.restart(wipe=True)
    assert accepts(broker) and broker.port == port and broker.pid != first


@BOTH
def test_starting_twice_is_refused(which, request):
    with pytest.raises(BrokerError, match="runs already"):
        request.getfixturevalue(which).start()


KINDS = pytest.mark.parametrize("kind", [pytest.param(Mosquitto, marks=pytest.mark.needs_mosquitto), EmbeddedBroker])


@KINDS
def test_another_programs_port_is_not_taken_for_ours(kind, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        broker = kind(tmp_path, USERS, port=taken.getsockname()[1])
        with pytest.raises(BrokerError, match="another program listens on port"):
            broker.start()
    assert not broker.running


@KINDS
def test_a_broker_that_cannot_start_is_reported_in_its_own_words(kind, tmp_path):
    broker = kind(tmp_path, USERS, tls=BrokerTls(tmp_path / "absent.crt", tmp_path / "absent.key"))
    with pytest.raises(BrokerError, match=r"(?s)did not start on port.*absent\.crt"):
        broker.start()
    assert not broker.running


@pytest.mark.needs_mosquitto
def test_the_passwords_stay_out_of_the_files_and_the_files_stay_private(mosquitto):
    for name in ("passwords", "access", "mosquitto.conf"):
        path = mosquitto.folder / name
        assert path.stat().st_mode & 0o077 == 0
        assert not [user for user in USERS if user.password in path.read_text()]


@pytest.mark.needs_mosquitto
def test_our_hash_is_the_one_mosquitto_makes(tmp_path):
    program = shutil.which("mosquitto_passwd")
    if program is None:
        pytest.skip("mosquitto_passwd is not on this machine (apt-get install mosquitto)")
    subprocess.run([program, "-c", "-b", str(tmp_path / "made"), "bedford", "testa-birdie"], check=True, capture_output=True)
    name, _, stored = (tmp_path / "made").read_text().strip().partition(":")
    assert name == "bedford" and password_fits(stored, "testa-birdie") and not password_fits(stored, "testa-bogey")


@given(st.text(min_size=1, max_size=40).filter(lambda text: text.isprintable()))
def test_a_password_fits_its_own_line_and_no_other_password_does(password):
    stored = password_line(BrokerUser("hub", password)).partition(":")[2]
    assert password_fits(stored, password) and not password_fits(stored, password + "x")


@pytest.mark.parametrize("stored", ["", "plain", "$7$x$y$z", "$6$101$c2FsdA==$aGFzaA==", "$7$101$not base64$x"])
def test_a_broken_password_line_fits_nothing(stored):
    assert not password_fits(stored, "testa-birdie")


def test_each_side_writes_what_the_other_reads_and_never_the_same():
    hub, bedford, dartmouth = USERS
    for writer, reader in ((hub, bedford), (bedford, hub)):
        assert all(any(topic_matches(a, b) or topic_matches(b, a) for b in reader.reads()) for a in writer.writes())
    assert not set(bedford.reads()) & set(bedford.writes())
    assert not any("dartmouth" in topic or "+" in topic for topic in bedford.reads() + bedford.writes())
    assert "user bedford\ntopic write clubos/v1/bedford/up\n" in access_text(USERS)
    assert "topic read clubos/v1/dartmouth/state/hub" in access_text([dartmouth])


@pytest.mark.parametrize("name", ["", "a b", "a/b", "+", "#", "site\ntopic write #", "-x", "x" * 64])
def test_a_name_that_could_change_the_access_list_is_refused(name):
    with pytest.raises(BrokerError, match="cannot name"):
        BrokerUser(name, "secret")
    with pytest.raises(BrokerError, match="cannot name"):
        BrokerUser("bedford", "secret", name)


def test_a_user_without_a_password_is_refused():
    with pytest.raises(BrokerError, match="needs a password"):
        BrokerUser("bedford", "")


@pytest.mark.needs_mosquitto
def test_mosquitto_is_preferred(tmp_path):
    assert find_broker(tmp_path, USERS).kind == "mosquitto"


def test_without_mosquitto_the_embedded_broker_is_taken_and_without_both_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(Mosquitto, "program", staticmethod(lambda: None))
    assert isinstance(find_broker(tmp_path, USERS, port=21_883), EmbeddedBroker)
    with pytest.raises(BrokerError, match="apt-get install mosquitto"):
        Mosquitto(tmp_path, USERS).start()
    monkeypatch.setattr(deploy.broker.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(BrokerError, match="There is no MQTT broker: install"):
        find_broker(tmp_path, USERS)
    with pytest.raises(BrokerError, match="needs the package amqtt"):
        EmbeddedBroker(tmp_path, USERS).start()


@pytest.mark.needs_mosquitto
def test_as_root_mosquitto_stays_root_to_read_its_private_folder_and_otherwise_is_not_told(tmp_path, monkeypatch):
    broker = Mosquitto(tmp_path, USERS)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert "user root\n" in broker.config_text(1883)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "user root" not in broker.config_text(1883) and "set_tcp_nodelay true" in broker.config_text(1883)
