"""Pictures as a kiosk's camera takes them: somebody holds up a phone with a QR code, a little turned, in poor light.

For: the bench and the tests of what reads them. Not for: being pretty. Invariant: the same scene and the same chance give the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, hypot, radians, sin
from random import Random

from shared.runtime import qr

QUIET_MODULES = 4
#: the room behind the guest, and its darker parts, as greys
WALL, DOOR = 150, 96
DARK, LIGHT = 34, 226


@dataclass(frozen=True)
class Scene:
    """`module_px`: pixels to a module. `turn_deg`: clockwise. `at`: where the code's middle is, as parts of width and height. `blur`: how often
    each pixel is averaged with its neighbours. `noise`: the largest change of a grey by chance. `fade`: how much of the light is lost from the
    left edge to the right. `inverted`: a phone that shows light on dark."""

    text: str
    width: int = 640
    height: int = 480
    module_px: float = 4.0
    turn_deg: float = 0.0
    at: tuple[float, float] = (0.5, 0.5)
    blur: int = 0
    noise: int = 0
    fade: float = 0.0
    inverted: bool = False

    def draw(self, chance: Random) -> bytes:
        """One byte a pixel, row after row, 0 black."""
        rows = [bytearray(row) for row in room(self.width, self.height)]
        self._hold_up(rows)
        for _ in range(self.blur):
            rows = _blurred(rows)
        return self._lit(rows, chance)

    def _hold_up(self, rows: list[bytearray]) -> None:
        """The code on its phone, pixel by pixel from where the pixel lies on it."""
        code = qr.modules(self.text)
        size, quiet = len(code), QUIET_MODULES
        ink, paper = (LIGHT, DARK) if self.inverted else (DARK, LIGHT)
        grey = {0: paper, 1: ink}
        middle_x, middle_y = self.at[0] * self.width, self.at[1] * self.height
        along, across = cos(radians(self.turn_deg)) / self.module_px, sin(radians(self.turn_deg)) / self.module_px
        reach = int(hypot(size + 2 * quiet, size + 2 * quiet) / 2 * self.module_px) + 1
        left, right = max(0, int(middle_x) - reach), min(self.width, int(middle_x) + reach)
        for y in range(max(0, int(middle_y) - reach), min(self.height, int(middle_y) + reach)):
            row, dx, dy = rows[y], left - middle_x, y - middle_y
            u, v = dx * along + dy * across + size / 2, dy * along - dx * across + size / 2
            for x in range(left, right):
                if 0 <= u < size and 0 <= v < size:
                    row[x] = grey[code[int(v)][int(u)]]
                elif -quiet <= u < size + quiet and -quiet <= v < size + quiet:
                    row[x] = paper
                u += along
                v -= across

    def _lit(self, rows: list[bytearray], chance: Random) -> bytes:
        light = [256 - int(self.fade * 256 * x / self.width) for x in range(self.width)]
        if not self.noise:
            return b"".join(bytes((grey * lit) >> 8 for grey, lit in zip(row, light, strict=True)) for row in rows)
        held = [min(255, max(0, grey)) for grey in range(-self.noise, 256 + self.noise)]
        span, picture = 2 * self.noise + 1, bytearray()
        for row in rows:
            grain = chance.randbytes(self.width)
            picture += bytes(held[((grey * lit) >> 8) + one % span] for grey, lit, one in zip(row, light, grain, strict=True))
        return bytes(picture)


def room(width: int, height: int) -> list[bytes]:
    """What the camera sees with nobody before it: a wall with a door in it, and a striped poster that is no code."""
    plain = bytearray([WALL]) * width
    plain[width // 12 : width // 4] = bytearray([DOOR]) * (width // 4 - width // 12)
    striped = bytearray(plain)
    for x in range(width * 3 // 4, width * 9 // 10):
        striped[x] = LIGHT if x // 5 % 2 else DARK
    return [bytes(striped if height // 10 < y < height // 3 else plain) for y in range(height)]


def empty(width: int, height: int, chance: Random, noise: int = 12) -> bytes:
    """The room with the camera's noise, and no code in it."""
    held = [min(255, max(0, grey)) for grey in range(-noise, 256 + noise)]
    span = 2 * noise + 1
    return b"".join(
        bytes(held[grey + one % span] for grey, one in zip(row, chance.randbytes(width), strict=True)) for row in room(width, height)
    )


def _blurred(rows: list[bytearray]) -> list[bytearray]:
    """Each pixel the mean of itself and its neighbours beside, above and below."""
    wide = [bytearray((a + b + c) // 3 for a, b, c in zip(row[:1] + row, row, row[1:] + row[-1:], strict=False)) for row in rows]
    above, below = [wide[0], *wide[:-1]], [*wide[1:], wide[-1]]
    return [bytearray((a + b + c) // 3 for a, b, c in zip(*three, strict=True)) for three in zip(above, wide, below, strict=True)]
