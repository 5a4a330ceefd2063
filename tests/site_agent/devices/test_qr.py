"""Reading QR codes out of grey pictures: as guests hold them up, and what is none."""

from random import Random

import pytest
import zxingcpp

from deploy.bench.frames import DARK, LIGHT, Scene, empty
from site_agent.devices.qr import CODES_MAX, decode

PASS = "CB1." + "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567" * 6
WIDTH, HEIGHT = 640, 480


def read(scene: Scene) -> list[str]:
    return decode(scene.draw(Random(3)), scene.width, scene.height)


@pytest.mark.parametrize(
    "held",
    [
        {}, {"module_px": 2.5}, {"module_px": 7.0, "turn_deg": 20}, {"turn_deg": 184}, {"turn_deg": 45}, {"inverted": True},
        {"blur": 1, "noise": 12, "fade": 0.4}, {"module_px": 5.0, "blur": 2, "noise": 20, "fade": 0.6}, {"at": (0.35, 0.45), "turn_deg": -9},
        {"width": 480, "height": 480, "module_px": 5.0}, {"width": 1280, "height": 720, "module_px": 6.0, "noise": 12},
    ],
)  # fmt: skip
def test_a_code_is_read_however_it_is_held(held):
    assert read(Scene(PASS, **held)) == [PASS]


def test_a_picture_without_a_code_has_no_text():
    assert decode(empty(WIDTH, HEIGHT, Random(1)), WIDTH, HEIGHT) == []
    for plain in (b"\x00", b"\xff", b"\x80"):
        assert decode(plain * (WIDTH * HEIGHT), WIDTH, HEIGHT) == []
    assert decode(Random(2).randbytes(WIDTH * HEIGHT), WIDTH, HEIGHT) == []


def test_a_code_out_of_the_picture_or_out_of_focus_has_no_text():
    assert read(Scene(PASS, at=(0.0, 0.5))) == []
    assert read(Scene(PASS, module_px=2.5, blur=4)) == []


def both(near: Scene, far: Scene) -> bytes:
    """Two phones beside each other, each in half of the picture."""
    left, right = near.draw(Random(1)), far.draw(Random(1))
    half = near.width
    return b"".join(left[y * half : (y + 1) * half] + right[y * half : (y + 1) * half] for y in range(near.height))


def test_of_two_codes_the_nearer_one_comes_first():
    near, far = Scene(PASS, width=320, module_px=5.0), Scene("https://golf.example.test/menu", width=320, module_px=4.0)
    assert decode(both(near, far), WIDTH, HEIGHT) == [PASS, "https://golf.example.test/menu"]
    assert decode(both(far, near), WIDTH, HEIGHT) == [PASS, "https://golf.example.test/menu"]


def test_a_wall_of_codes_is_read_no_further_than_the_limit():
    tile, tiles = Scene("A", width=160, height=120, module_px=3.0), range(16)
    drawn = [Scene(f"CODE {n}", tile.width, tile.height, tile.module_px).draw(Random(1)) for n in tiles]
    rows = [b"".join(drawn[4 * block + column][y * 160 : (y + 1) * 160] for column in range(4)) for block in range(4) for y in range(120)]
    assert len(decode(b"".join(rows), WIDTH, HEIGHT)) == CODES_MAX


@pytest.mark.parametrize("kind", ["Code128", "EAN13", "DataMatrix", "Aztec", "PDF417"])
def test_a_barcode_of_another_kind_is_no_code_of_ours(kind):
    made = zxingcpp.create_barcode("4006381333931", getattr(zxingcpp.BarcodeFormat, kind))
    drawn = memoryview(made.to_image(scale=3))
    height, width = drawn.shape[:2]
    assert [one.text for one in zxingcpp.read_barcodes(drawn)] == ["4006381333931"], "the picture must hold it"
    assert decode(drawn.tobytes(), width, height) == []


@pytest.mark.parametrize(
    ("octets", "width", "height"), [(0, 0, 0), (0, 640, 480), (640 * 480 - 1, 640, 480), (640 * 480 + 1, 640, 480), (12, -3, -4)]
)
def test_bytes_that_are_no_picture_of_that_size_are_an_error(octets, width, height):
    with pytest.raises(ValueError, match=f"{octets} bytes are no grey picture"):
        decode(bytes(octets), width, height)


def test_the_frames_that_tests_and_bench_draw_are_what_they_say():
    plain = Scene(PASS, module_px=4.0).draw(Random(1))
    assert len(plain) == WIDTH * HEIGHT and {DARK, LIGHT} <= set(plain)
    assert Scene(PASS, noise=9).draw(Random(1)) == Scene(PASS, noise=9).draw(Random(1)) != Scene(PASS, noise=9).draw(Random(2))
    faded = Scene(PASS, fade=0.5).draw(Random(1))
    assert faded[0] > 1.8 * faded[WIDTH - 1]
