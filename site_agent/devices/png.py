"""Reads a small PNG picture into grey pixels, for `qr`: what a door controller draws of a code.

Not for: colours, interlaced pictures, or anything large. Invariant: whatever the octets are, the answer is a picture of `PIXELS_MAX` or fewer or a
ValueError with a sentence; nothing is decompressed beyond that.
"""

import struct
import zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"
PIXELS_MAX = 4_000_000
QUIET_ZONE = 16
"""Pixels of white that are put around it: some drawers leave none, without which no reader finds the code."""
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def grey(picture: bytes) -> tuple[bytes, int, int]:
    """`(pixels, width, height)`, one byte a pixel, 0 black, on white where it is transparent. ValueError for anything else."""
    chunks = _chunks(picture)
    width, height, depth, kind, _, _, interlaced = struct.unpack(">IIBBBBB", chunks.get(b"IHDR", b"").ljust(13, b"\0")[:13])
    if kind not in _CHANNELS or depth not in (1, 2, 4, 8) or (depth != 8 and kind not in (0, 3)) or interlaced:
        raise ValueError("The picture is of a kind that is not read here.")
    if not 1 <= width * height <= PIXELS_MAX:
        raise ValueError("The picture is empty or too large.")
    octets_a_row = (width * depth * _CHANNELS[kind] + 7) // 8
    rows = _rows(chunks.get(b"IDAT", b""), height, octets_a_row, max(1, depth * _CHANNELS[kind] // 8))
    lightness = _lightness(kind, depth, chunks.get(b"PLTE", b""))
    return _framed([lightness(row, width) for row in rows], width, height)


def _chunks(picture: bytes) -> dict[bytes, bytes]:
    if not picture.startswith(SIGNATURE):
        raise ValueError("This is no PNG picture.")
    found: dict[bytes, bytes] = {}
    at = len(SIGNATURE)
    while at + 8 <= len(picture):
        length, name = struct.unpack_from(">I4s", picture, at)
        found[name] = found.get(name, b"") + picture[at + 8 : at + 8 + length]
        at += 12 + length
    return found


def _rows(packed: bytes, height: int, octets: int, step: int) -> list[bytearray]:
    """The rows with their filters undone."""
    wanted = height * (octets + 1)
    try:
        plain = zlib.decompressobj().decompress(packed, wanted)
    except zlib.error:
        raise ValueError("The picture is damaged.") from None
    if len(plain) < wanted:
        raise ValueError("The picture is cut off.")
    rows, above = [], bytearray(octets)
    for at in range(0, wanted, octets + 1):
        above = _unfiltered(plain[at], bytearray(plain[at + 1 : at + 1 + octets]), above, step)
        rows.append(above)
    return rows


def _unfiltered(kind: int, row: bytearray, above: bytearray, step: int) -> bytearray:
    if kind > 4:
        raise ValueError("The picture is damaged.")
    if kind == 2:
        return bytearray((one + up) & 255 for one, up in zip(row, above, strict=True))
    for at in range(len(row)) if kind else ():
        left, corner = (row[at - step], above[at - step]) if at >= step else (0, 0)
        guess = left if kind == 1 else (left + above[at]) // 2 if kind == 3 else _nearest(left, above[at], corner)
        row[at] = (row[at] + guess) & 255
    return row


def _nearest(left: int, up: int, corner: int) -> int:
    """The neighbour that is nearest to left + up - corner; of equal ones in this order."""
    guess = left + up - corner
    return min((left, up, corner), key=lambda one: abs(guess - one))


def _lightness(kind: int, depth: int, palette: bytes):
    """A function from one row of octets and the width to its pixels' lightness."""
    if kind in (0, 3):
        top = (1 << depth) - 1
        shades = [_grey(palette, 3 * n) if kind == 3 else n * 255 // top for n in range(top + 1)]
        return lambda row, width: bytes(shades[row[x * depth // 8] >> (8 - depth - x * depth % 8) & top] for x in range(width))
    step, coloured = _CHANNELS[kind], kind in (2, 6)

    def of_row(row: bytearray, width: int) -> bytes:
        told = bytearray(width)
        for x in range(width):
            shade = _grey(row, x * step) if coloured else row[x * step]
            solid = row[x * step + step - 1] if kind in (4, 6) else 255
            told[x] = (shade * solid + 255 * (255 - solid)) // 255
        return bytes(told)

    return of_row


def _grey(octets: bytes, at: int) -> int:
    return sum(octets[at : at + 3]) // 3 if at + 3 <= len(octets) else 0


def _framed(rows: list[bytes], width: int, height: int) -> tuple[bytes, int, int]:
    side, wide = b"\xff" * QUIET_ZONE, width + 2 * QUIET_ZONE
    edge = b"\xff" * (wide * QUIET_ZONE)
    return edge + b"".join(side + row + side for row in rows) + edge, wide, height + 2 * QUIET_ZONE
