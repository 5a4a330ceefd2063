"""QR pictures: real PNG and SVG, the same for the same text, and a sentence for texts that do not fit."""

import struct
import xml.etree.ElementTree as ElementTree

import pytest

from shared.runtime import qr


def test_a_text_becomes_a_square_png_the_same_every_time():
    picture = qr.png("CLUBOS-PASS-1")
    width, height = struct.unpack(">II", picture[16:24])
    assert picture.startswith(b"\x89PNG\r\n\x1a\n") and width == height >= 6 * 29
    qr.png.cache_clear()
    assert qr.png("CLUBOS-PASS-1") == picture != qr.png("CLUBOS-PASS-2")


def test_a_text_becomes_an_svg_without_script_style_or_fixed_size():
    root = ElementTree.fromstring(qr.svg("CLUBOS-PASS-1"))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "viewBox" in root.attrib and not {"width", "height", "style"} & set(root.attrib)
    assert {child.tag.rpartition("}")[2] for child in root.iter()} <= {"svg", "path", "g"}


def test_a_text_becomes_rows_of_modules_with_its_three_finders():
    rows = qr.modules("CLUBOS-PASS-1")
    assert len(rows) >= 21 and {len(row) for row in rows} == {len(rows)} and set(b"".join(rows)) == {0, 1}
    finder = [bytes(row[:7]) for row in rows[:7]]
    assert finder[0] == finder[6] == b"\x01" * 7 and [row[-7:] for row in rows[:7]] == [row[:7] for row in rows[-7:]] == finder


@pytest.mark.parametrize("make", [qr.png, qr.svg, qr.modules])
def test_an_empty_or_endless_text_is_refused_with_a_sentence(make):
    with pytest.raises(qr.QrTextError, match="empty"):
        make("")
    with pytest.raises(qr.QrTextError, match="at most 1200"):
        make("x" * 1201)
    assert make("x" * 1200)
