"""Reads QR codes out of a grey picture. The only file of the project that imports zxing-cpp.

For: what a kiosk's camera sees. Not for: deciding what a code says, or drawing codes (`runtime/qr`). Invariant: QR codes only, whatever other
barcodes are in the picture; nothing that a picture holds raises. The library is loaded with this module, 3 MB that a site without a camera
never has: `app` imports it at the first frame.
"""

import zxingcpp

CODES_MAX = 8
"""Texts told of one picture; more are nobody who holds up a pass."""


def decode(grey: bytes, width: int, height: int) -> list[str]:
    """The texts of the QR codes in a picture of one byte a pixel, row after row, 0 black; the largest code, which is held nearest, first.

    Turned, mirrored and light-on-dark codes are read too. ValueError if `grey` is not `width` × `height` bytes. About 1 ms for 640×480, up to
    3 ms where nothing is found; other threads run meanwhile.
    """
    if width < 1 or height < 1 or len(grey) != width * height:
        raise ValueError(f"{len(grey)} bytes are no grey picture of {width} by {height} pixels.")
    picture = memoryview(grey).cast("B", (height, width))
    found = zxingcpp.read_barcodes(picture, formats=zxingcpp.BarcodeFormat.QRCode, text_mode=zxingcpp.TextMode.Plain)
    return [one.text for one in sorted(found, key=_size, reverse=True)[:CODES_MAX]]


def _size(code: zxingcpp.Barcode) -> int:
    """The square of its diagonal, in pixels."""
    a, b = code.position.top_left, code.position.bottom_right
    return (a.x - b.x) ** 2 + (a.y - b.y) ** 2
