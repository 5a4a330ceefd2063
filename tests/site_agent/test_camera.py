"""The kiosk's camera: frames to `/api/scan`, what is told of them, and what a frame must not do."""

import asyncio
import subprocess
import sys
import threading
from random import Random

import pytest

from deploy.bench.frames import Scene, empty
from shared.errors import Refused
from site_agent.services.visits import camera
from site_agent.services.visits.camera import SAME_CODE_S, Camera, Frame, Seen, frame
from site_agent.services.visits.checkin import FOREIGN
from site_agent.web.api.scan import RATE_RULE
from tests.site_agent.site_world import Client, code_of, csrf_of

WIDTH, HEIGHT = 480, 480
OCTETS = {"content-type": "application/octet-stream"}


def held_up(text: str, module_px: float = 4.0) -> bytes:
    return Scene(text, WIDTH, HEIGHT, module_px, turn_deg=6, noise=8).draw(Random(4))


async def scanned(client: Client, grey: bytes, width: int | str = WIDTH, height: int | str = HEIGHT, **headers: str):
    return await client.http.post(f"/api/scan?width={width}&height={height}", content=grey, headers={**OCTETS, **headers})


# ---- what is told
async def test_the_pass_before_the_camera_is_told_and_checks_in(world):
    booking = await world.booked(1, 0)
    answer = await scanned(world.kiosk, held_up(booking["pass"]))
    assert answer.status_code == 200 and answer.json() == {"text": booking["pass"], "sentence": ""}
    came = await world.kiosk.post("/api/check-in", {"code": answer.json()["text"]})
    assert came.status_code == 200 and came.json()["bay"] == "Box 1"


async def test_a_frame_alone_checks_nobody_in_and_is_written_down_nowhere(world):
    booking = await world.booked(1, 0)
    before = world.journal()
    assert (await scanned(world.kiosk, held_up(booking["pass"]))).status_code == 200
    assert world.journal() == before and world.doors.unlocked == []


async def test_nothing_before_the_camera_is_answered_with_nothing(world):
    answer = await scanned(world.kiosk, empty(WIDTH, HEIGHT, Random(1)))
    assert (answer.status_code, answer.content) == (204, b"")


@pytest.mark.parametrize("text", ["https://golf.example.test/menu", "WIFI:S:Guests;T:WPA;P:none;;", "CB2.ABCDEFGH", "CB1." + "A" * 300])
async def test_a_code_that_is_none_of_ours_is_answered_with_a_sentence(world, text):
    answer = await scanned(world.kiosk, held_up(text))
    assert answer.status_code == 200 and answer.json() == {"text": "", "sentence": FOREIGN.detail}
    assert FOREIGN.detail.startswith("This code is no booking of ours.") and text not in answer.text


async def test_a_code_that_only_looks_like_ours_is_told_and_refused_at_check_in(world):
    text = "CB1." + "ABCDEFGH" * 20
    assert (await scanned(world.kiosk, held_up(text))).json()["text"] == text
    assert code_of(await world.kiosk.post("/api/check-in", {"code": text})) == (403, "pass_invalid")


async def test_a_code_that_is_held_on_is_told_once_in_eight_seconds_at_each_kiosk(world):
    booking, other = await world.booked(1, 0), await world.booked(2, 0)
    mine, theirs = held_up(booking["pass"]), held_up(other["pass"])
    second = await world.paired("Back kiosk")
    assert [(await scanned(world.kiosk, mine)).status_code for _ in range(3)] == [200, 204, 204]
    assert (await scanned(second, mine)).status_code == 200
    assert (await scanned(world.kiosk, theirs)).json()["text"] == other["pass"]
    world.clock.forward(SAME_CODE_S + 0.1)
    assert (await scanned(world.kiosk, theirs)).json()["text"] == other["pass"]


async def test_beside_a_poster_with_a_code_the_guests_own_is_found():
    seen = await Camera(lambda *_: ["https://golf.example.test/menu", "CB1.MINE", "CB1.FARTHER"], lambda: 0.0).look("k", Frame(b"", 0, 0))
    assert seen == Seen("CB1.MINE", "")


# ---- what is refused
@pytest.mark.parametrize(
    ("octets", "width", "height", "words"),
    [
        (WIDTH * HEIGHT - 1, WIDTH, HEIGHT, "has 230400 bytes, one a pixel, and this body has 230399."),
        (0, WIDTH, HEIGHT, "this body has 0."),
        (WIDTH * HEIGHT * 3, WIDTH, HEIGHT, "this body has 691200."),
        (10, 1281, 480, "1280"), (10, 31, 480, "32"), (10, -640, 480, "32"), (10, "wide", 480, "width"), (10, "", 480, "width"),
    ],
)  # fmt: skip
async def test_a_frame_that_is_not_what_it_says_is_refused_with_a_sentence(world, octets, width, height, words):
    answer = await scanned(world.kiosk, bytes(octets), width, height)
    assert code_of(answer) == (400, "bad_request") and words in answer.text


async def test_a_frame_without_its_size_or_of_another_kind_is_refused(world):
    bare = await world.kiosk.http.post("/api/scan", content=b"", headers=OCTETS)
    assert code_of(bare) == (400, "bad_request")
    for kind in ("image/png", "application/json", "application/x-www-form-urlencoded"):
        answer = await world.kiosk.http.post(f"/api/scan?width={WIDTH}&height={HEIGHT}", content=b"{}", headers={"content-type": kind})
        assert answer.status_code == 415 and "application/octet-stream" in answer.json()["detail"]


async def test_a_body_larger_than_any_frame_is_refused_and_other_addresses_take_no_more_than_before(world):
    assert code_of(await scanned(world.kiosk, bytes((1 << 20) + 1), 1280, 1280)) == (413, "too_large")
    assert (await scanned(world.kiosk, bytes(1280 * 800), 1280, 800)).status_code == 204
    answer = await world.kiosk.http.post("/api/check-in", content=bytes(70_000), headers={"content-type": "application/json"})
    assert code_of(answer) == (413, "too_large")


async def test_frames_are_taken_from_paired_kiosks_only(world):
    grey = empty(WIDTH, HEIGHT, Random(1))
    assert code_of(await scanned(world.anybody, grey)) == (401, "not_signed_in")
    assert code_of(await scanned(world.staff, grey)) == (403, "not_allowed")
    assert (await scanned(Client(world, authorization="Bearer made-up"), grey)).status_code == 401


async def test_a_page_proves_with_its_token_that_the_frame_is_its_own(world):
    screen = await world.screen()
    token = csrf_of((await screen.get("/kiosk/check-in")).text)
    grey = empty(WIDTH, HEIGHT, Random(1))
    assert code_of(await scanned(screen, grey, accept="application/json")) == (403, "csrf_failed")
    assert (await scanned(screen, grey, **{"x-csrf-token": token})).status_code == 204


async def test_more_frames_than_a_camera_takes_are_refused_until_a_moment_later(world):
    dark = bytes(32 * 32)
    answers = [(await scanned(world.kiosk, dark, 32, 32)).status_code for _ in range(RATE_RULE.capacity + 1)]
    assert answers == [204] * RATE_RULE.capacity + [429]
    world.clock.forward(1)
    assert [(await scanned(world.kiosk, dark, 32, 32)).status_code for _ in range(9)] == [204] * 8 + [429]


async def test_only_the_check_in_page_may_look_through_the_camera(world):
    screen = await world.screen()
    page = await screen.get("/kiosk/check-in")
    assert "camera=(self)" in page.headers["permissions-policy"] and "kiosk-camera.js" in page.text
    wrong = await screen.form("/kiosk/check-in", csrf_token=csrf_of(page.text), code="482915")
    assert wrong.status_code == 403 and "camera=(self)" in wrong.headers["permissions-policy"]
    for path in ("/kiosk", "/kiosk/book"):
        other = await screen.get(path)
        assert "camera=()" in other.headers["permissions-policy"] and "kiosk-camera.js" not in other.text
    assert "camera=()" in (await world.staff.get("/staff/sign-in")).headers["permissions-policy"]


# ---- one picture at a time
class Slow:
    """A reader that a test holds up: each call waits for `go`, and notes how many are in it."""

    def __init__(self) -> None:
        self.go, self.began, self.inside, self.most, self.read = threading.Event(), threading.Event(), 0, 0, []

    def __call__(self, grey: bytes, width: int, height: int) -> list[str]:
        self.inside += 1
        self.most = max(self.most, self.inside)
        self.began.set()
        self.go.wait(5)
        self.inside -= 1
        self.read.append(grey)
        return [f"CB1.{grey.decode()}"]


async def begun(reader: Slow) -> None:
    assert await asyncio.to_thread(reader.began.wait, 5)


async def test_one_picture_is_read_at_a_time_and_of_those_that_wait_the_newest():
    reader = Slow()
    eye = Camera(reader, lambda: 0.0)
    first = asyncio.create_task(eye.look("front", Frame(b"A", 1, 1)))
    await begun(reader)
    later = [asyncio.create_task(eye.look("front", Frame(text, 1, 1))) for text in (b"B", b"C", b"D")]
    beside = asyncio.create_task(eye.look("back", Frame(b"E", 1, 1)))
    await asyncio.sleep(0)
    reader.go.set()
    assert [await one for one in (first, *later, beside)] == [Seen("CB1.A", ""), None, None, Seen("CB1.D", ""), Seen("CB1.E", "")]
    assert reader.most == 1 and reader.read == [b"A", b"D", b"E"]
    eye.stop()


async def test_a_picture_that_takes_too_long_is_given_up_and_no_other_begun_until_its_end(monkeypatch):
    monkeypatch.setattr(camera, "READ_MAX_S", 0.02)
    reader = Slow()
    eye = Camera(reader, lambda: 0.0)
    assert await eye.look("front", Frame(b"A", 1, 1)) is None
    assert await eye.look("front", Frame(b"B", 1, 1)) is None
    reader.go.set()
    async with asyncio.timeout(5):
        while (seen := await eye.look("front", Frame(b"C", 1, 1))) is None:
            await asyncio.sleep(0.001)
    assert seen == Seen("CB1.C", "") and b"B" not in reader.read and reader.most == 1
    eye.stop()


async def test_a_camera_that_was_never_used_stops_and_one_that_was_stops_twice():
    Camera(lambda *_: [], lambda: 0.0).stop()
    eye = Camera(lambda *_: [], lambda: 0.0)
    assert await eye.look("front", Frame(b"", 0, 0)) is None
    eye.stop()
    eye.stop()


@pytest.mark.parametrize(("width", "height"), [(31, 480), (480, 1281), (0, 0)])
def test_a_frame_has_a_size_that_a_camera_has(width, height):
    with pytest.raises(Refused, match="32 to 1280 pixels"):
        frame(bytes(max(0, width * height)), width, height)


def test_an_agent_without_a_camera_never_loads_what_reads_codes():
    words = "import sys, site_agent.app; print('zxingcpp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", words], check=True, capture_output=True, text=True).stdout == "False\n"
