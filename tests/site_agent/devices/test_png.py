"""Small PNG pictures: every kind that a drawer of codes may choose, and octets that are none."""

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.runtime import qr as drawn
from site_agent.devices import png, qr


def made(width: int, height: int, depth: int, kind: int, rows: list[bytes], *, palette: bytes = b"", interlaced: int = 0) -> bytes:
    """A picture of these rows, each with its filter's number before it."""
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, interlaced)),
        (b"PLTE", palette),
        (b"IDAT", zlib.compress(b"".join(rows))),
    ]
    return png.SIGNATURE + b"".join(struct.pack(">I", len(body)) + name + body + b"\0\0\0\0" for name, body in chunks if body)


def inside(picture: bytes) -> list[list[int]]:
    """The pixels without the white around them."""
    pixels, width, height = png.grey(picture)
    edge = png.QUIET_ZONE
    return [list(pixels[y * width + edge : (y + 1) * width - edge]) for y in range(edge, height - edge)]


@pytest.mark.parametrize(
    ("picture", "told"),
    [
        (made(3, 1, 8, 0, [b"\0\x00\x80\xff"]), [[0, 128, 255]]),
        (made(9, 1, 1, 0, [b"\0\xaa\x80"]), [[255, 0] * 4 + [255]]),
        (made(3, 1, 2, 0, [b"\0\x1b"]), [[0, 85, 170]]),
        (made(2, 1, 1, 3, [b"\0\x40"], palette=b"\xff\xff\xff\0\0\0"), [[255, 0]]),
        (made(2, 1, 8, 2, [b"\0\xff\xff\xff\0\0\0"]), [[255, 0]]),
        (made(2, 1, 8, 4, [b"\0\0\xff\0\0"]), [[0, 255]]),
        (made(1, 1, 8, 6, [b"\0\0\0\0\xff"]), [[0]]),
        (made(3, 1, 8, 0, [b"\1\x10\x10\x10"]), [[16, 32, 48]]),
        (made(2, 2, 8, 0, [b"\0\x10\x20", b"\2\x01\x01"]), [[16, 32], [17, 33]]),
        (made(2, 2, 8, 0, [b"\0\x10\x20", b"\3\x01\x01"]), [[16, 32], [9, 21]]),
        (made(2, 2, 8, 0, [b"\0\x10\x20", b"\4\x01\x01"]), [[16, 32], [17, 33]]),
    ],
)
def test_pixels_are_what_the_drawer_meant(picture, told):
    assert inside(picture) == told


@pytest.mark.parametrize("text", ["UA0123456789abcdef", "https://example.test/door?visitor=1"])
def test_a_drawn_code_is_read_back(text):
    assert qr.decode(*png.grey(drawn.png(text))) == [text]


@pytest.mark.parametrize(
    ("octets", "said"),
    [
        (b"", "no PNG"),
        (b"<html>", "no PNG"),
        (png.SIGNATURE, "of a kind|empty"),
        (made(1, 1, 8, 0, [b"\0\0"], interlaced=1), "of a kind"),
        (made(1, 1, 16, 0, [b"\0\0\0"]), "of a kind"),
        (made(1, 2, 8, 0, [b"\0\0"]), "cut off"),
        (made(1, 1, 8, 0, [b"\7\0"]), "damaged"),
        (made(60_000, 60_000, 8, 0, [b"\0"]), "too large"),
    ],
)
def test_what_is_no_such_picture_is_said(octets, said):
    with pytest.raises(ValueError, match=said):
        png.grey(octets)


@given(st.binary(max_size=300), st.integers(0, 300))
def test_no_octets_at_all_are_a_crash(octets, cut):
    for picture in (octets, png.SIGNATURE + octets, (drawn.png("x")[:cut] + octets)):
        try:
            png.grey(picture)
        except ValueError as error:
            assert str(error).endswith(".")
