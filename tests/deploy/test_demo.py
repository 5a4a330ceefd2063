"""The whole demo as a child process: it serves, is told of, survives its check twice, and stops clean however it is asked."""

import os
import signal
import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from deploy.demo.clients import Inbox
from deploy.demo.processes import until
from tests.deploy.running_demo import WITHOUT_MOSQUITTO, Demo, check, start

pytestmark = [pytest.mark.slow, pytest.mark.needs_mosquitto, pytest.mark.timeout(180)]
@pytest.fixture
async def demo(tmp_path: Path) -> AsyncIterator[Demo]:
    running = await start(tmp_path / "demo")
    yield running
    if running.process.returncode is None:
        running.process.send_signal(signal.SIGTERM)
        await running.ended()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not (stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z")


async def test_it_serves_is_told_of_and_its_check_passes_twice(demo: Demo) -> None:
    await demo.served()
    told = demo.told
    assert set(told) == {"hub", "sites", "api_key", "broker", "emulators"}
    assert all(set(site) == {"id", "name", "url", "staff", "kiosk_token"} for site in told["sites"])
    assert all(set(site["staff"]) == {"user", "password"} for site in told["sites"])
    assert set(told["broker"]) == {"host", "port"} and set(told["emulators"]) == {"unifi-bedford", "unifi-dartmouth", "messages", "machines", "bays"}
    assert all(urlsplit(url).hostname == "127.0.0.1" for url in told["emulators"].values())
    for secret in (told["api_key"], *(site["staff"]["password"] for site in told["sites"])):
        assert secret in demo.said, "sign-ins are printed"
        assert not in_a_log(demo, secret)
    for name in ("twilio.token", "sendgrid.key"):
        secret = (demo.folder / "hub" / name).read_text()
        assert secret not in demo.said and not in_a_log(demo, secret)
    assert f"What customers receive  {told['emulators']['messages']}" in demo.said
    assert 0 < await messages_of(demo) < 60, "the demo's own bookings are told to a few, not to everybody"
    for _ in range(2):
        code, said = await check(demo)
        assert code == 0, said
        assert "both books have the same" in said and "FAILED" not in said

    pids = list(demo.control["pids"].values())
    assert len(pids) == 4 + len(told["emulators"]) and all(alive(pid) for pid in pids)
    began = time.monotonic()
    demo.process.send_signal(signal.SIGINT)
    assert await demo.ended() == 0, demo.said
    assert time.monotonic() - began < 8
    assert not any(alive(pid) for pid in pids), "nobody is left over"
    assert not demo.told_path.exists() and not demo.control_path.exists()
    assert "Traceback" not in demo.said


def in_a_log(demo: Demo, secret: str) -> bool:
    return any(secret in log.read_text() for log in (demo.folder / "logs").iterdir())


async def messages_of(demo: Demo) -> int:
    """What the inbox has got so far, once it has got something."""
    async with Inbox(demo.told["emulators"]["messages"]) as inbox:

        async def came() -> bool:
            return (await inbox.state())["counts"]["sms"] > 0

        await until("Nobody was told of the demo's bookings", came, 10)
        counts = (await inbox.state())["counts"]
    return counts["sms"] + counts["mail"]


async def test_it_serves_and_its_check_passes_on_a_machine_without_mosquitto(tmp_path: Path) -> None:
    demo = await start(tmp_path / "demo", command=WITHOUT_MOSQUITTO)
    try:
        await demo.served()
        assert "(amqtt)" in demo.said
        code, said = await check(demo)
        assert code == 0, said
    finally:
        demo.process.send_signal(signal.SIGTERM)
        assert await demo.ended() == 0


async def test_the_kiosk_opens_paired_in_a_browser_that_comes_through_the_demo(demo: Demo) -> None:
    await demo.served()
    site = demo.told["sites"][0]
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(f"{site['url']}/kiosk")).status_code == 404
        came = await client.get(f"{demo.control['url']}/kiosk/{site['id']}", follow_redirects=True)
        assert came.status_code == 200 and str(came.url).startswith(f"{site['url']}/kiosk")


async def test_a_dead_child_ends_the_demo_with_the_last_words_of_its_log(demo: Demo) -> None:
    await demo.served()
    control = demo.control
    os.kill(control["pids"]["the hub"], signal.SIGKILL)
    assert await demo.ended() == 1
    assert "The hub was killed by signal 9, so the demo ends. Its log ends with:" in demo.said
    assert not any(alive(pid) for pid in control["pids"].values())
    assert not demo.told_path.exists()


async def test_two_demos_do_not_share_a_folder_and_books_are_kept_when_asked(demo: Demo, tmp_path: Path) -> None:
    await demo.served()
    second = await start(tmp_path / "demo", "--keep")
    second.output.rename(tmp_path / "second.out")
    assert await second.ended() == 1
    assert "A demo runs in" in (tmp_path / "second.out").read_text()

    before = bookings(demo.folder)
    demo.process.send_signal(signal.SIGTERM)
    assert await demo.ended() == 0
    again = await start(tmp_path / "demo", "--keep")
    try:
        await again.served()
        assert bookings(again.folder) == before
        assert "the books of the last run" in again.said
    finally:
        again.process.send_signal(signal.SIGTERM)
        assert await again.ended() == 0


def bookings(folder: Path) -> set[str]:
    with sqlite3.connect(f"file:{folder / 'hub' / 'data' / 'hub.db'}?mode=ro", uri=True) as books:
        return {row[0] for row in books.execute("SELECT id FROM bookings")}


async def test_a_folder_that_is_no_demos_is_not_emptied(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "dog.jpg").write_bytes(b"woof")
    demo = await start(tmp_path / "photos")
    assert await demo.ended() == 1
    assert "holds something that no demo has made" in demo.said
    assert (tmp_path / "photos" / "dog.jpg").exists()


async def test_the_check_without_a_demo_says_so(tmp_path: Path) -> None:
    code, said = await check(Demo(tmp_path / "nothing", None, tmp_path))  # type: ignore[arg-type]
    assert code == 2 and "No demo is running" in said
