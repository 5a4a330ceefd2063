"""The pinned certificate: the token reaches the controller that a person confirmed and nobody else."""

import asyncio
import ssl

import httpx
import pytest

from deploy.emulators.tls import self_signed
from site_agent.devices.unifi.doors import UnifiDoors, UnifiSettings
from site_agent.devices.unifi.pinning import FingerprintError, fetch_fingerprint, fingerprint_of_pem, normal_fingerprint
from site_agent.ports import DoorsRefused, DoorsUnavailable
from tests.site_agent.devices.unifi_words import GUEST, until


class Impostor:
    """A TLS server with a certificate of its own that notes every byte it is sent."""

    def __init__(self, certificate):
        self.certificate = certificate
        self.heard = b""
        self.connections = 0

    async def __aenter__(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate.cert_path, self.certificate.key_path)
        context.sni_callback = self._called
        self.server = await asyncio.start_server(self._listen, "127.0.0.1", 0, ssl=context)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc):
        self.server.close()

    def _called(self, *hello):
        self.connections += 1

    async def _listen(self, reader, writer):
        try:
            while chunk := await reader.read(4096):
                self.heard += chunk
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        except (OSError, ssl.SSLError):
            pass
        finally:
            writer.close()


async def test_an_impostor_is_sent_not_one_byte(certificates, clock):
    real, false = self_signed(certificates, "real"), self_signed(certificates, "false")
    async with Impostor(false) as impostor:
        doors = UnifiDoors(UnifiSettings(host="127.0.0.1", port=impostor.port, token="t", fingerprint=real.fingerprint), clock)
        for call in (doors.doors(), doors.unlock("front", GUEST, "req-1")):
            with pytest.raises(DoorsRefused, match="another certificate") as refused:
                await call
            assert refused.value.code == "certificate_changed"
        await until(lambda: impostor.connections == 2)
        await doors.stop()
    assert impostor.heard == b""
    assert false.fingerprint in str(refused.value)


async def test_without_the_pin_the_impostor_would_hear_the_token(certificates):
    """The twin: the same impostor, asked by a client that checks nothing."""
    async with Impostor(self_signed(certificates, "false")) as impostor, httpx.AsyncClient(verify=False) as client:
        await client.get(f"https://127.0.0.1:{impostor.port}/", headers={"Authorization": "Bearer telltale"})
    assert b"telltale" in impostor.heard


async def test_the_pinned_certificate_is_talked_to(certificates, clock):
    certificate = self_signed(certificates, "real")
    async with Impostor(certificate) as server:
        doors = UnifiDoors(UnifiSettings(host="127.0.0.1", port=server.port, token="telltale", fingerprint=certificate.fingerprint), clock)
        with pytest.raises(DoorsUnavailable):
            await doors.doors()
        await doors.stop()
    assert b"telltale" in server.heard


async def test_a_certificate_that_changes_while_we_run_is_refused_until_a_person_pins_it(controller, connect, tmp_path):
    emulator = await controller()
    doors = connect(emulator)
    await doors.doors()
    old = emulator.fingerprint
    await emulator.renew_certificate()
    assert emulator.fingerprint != old
    with pytest.raises(DoorsRefused) as refused:
        await doors.unlock(emulator.door_id("front"), GUEST, "req-1")
    assert refused.value.code == "certificate_changed"
    assert doors.reachable is False
    assert not emulator.box.unlocks
    assert await connect(emulator).unlock(emulator.door_id("front"), GUEST, "req-1")


async def test_the_installer_reads_the_fingerprint_that_the_controller_shows(controller):
    emulator = await controller()
    assert await fetch_fingerprint("127.0.0.1", emulator.port) == emulator.fingerprint
    assert not emulator.box.requests


async def test_the_installer_is_told_when_nothing_answers(controller):
    emulator = await controller()
    await emulator.go_down()
    with pytest.raises(OSError):
        await fetch_fingerprint("127.0.0.1", emulator.port)


async def test_the_certificate_may_be_given_as_a_file(controller, connect):
    emulator = await controller()
    doors = connect(emulator, fingerprint="", certificate_path=str(emulator.certificate.cert_path))
    assert len(await doors.doors()) == 3


def test_a_fingerprint_is_read_as_people_paste_it():
    plain = "ab" * 32
    assert normal_fingerprint(" AB:" + ":".join(["AB"] * 31) + "\n") == plain


@pytest.mark.parametrize("text", ["", "ab" * 20, "ab" * 33, "zz" * 32, "sha256"])
def test_what_is_no_sha256_is_refused_with_a_sentence(text):
    with pytest.raises(FingerprintError, match="64 hexadecimal"):
        normal_fingerprint(text)


@pytest.mark.parametrize("pem", ["", "hello", "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n"])
def test_a_file_without_certificate_is_refused_with_a_sentence(pem):
    with pytest.raises(FingerprintError, match="PEM"):
        fingerprint_of_pem(pem)


def test_settings_need_one_way_of_knowing_the_controller(tmp_path):
    for more in ({}, {"fingerprint": "ab" * 32, "certificate_path": "x.pem"}):
        with pytest.raises(FingerprintError, match="one of the two"):
            UnifiSettings(host="127.0.0.1", token="t", **more).pinned()
    with pytest.raises(FingerprintError, match="cannot be read"):
        UnifiSettings(host="127.0.0.1", token="t", certificate_path=str(tmp_path / "none.pem")).pinned()


def test_settings_do_not_show_the_token():
    assert "telltale" not in repr(UnifiSettings(host="127.0.0.1", token="telltale", fingerprint="ab" * 32))
