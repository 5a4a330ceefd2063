"""The file of the mark: whole or refused, and never a crash because its medium is away."""

import os

import pytest

from shared.errors import Broken
from shared.runtime.mark import MarkFile


@pytest.fixture
def file(tmp_path):
    (tmp_path / "stick").mkdir()
    return MarkFile(tmp_path / "stick" / "bedford.mark")


def test_what_was_written_is_read_again_and_replaced_whole(file):
    assert file.read() is None
    file.write(b'{"sent_no":41}')
    file.write(b'{"sent_no":7}')
    assert file.read() == b'{"sent_no":7}'
    assert os.listdir(file.path.parent) == ["bedford.mark"], "nothing is left beside it"
    assert file.path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("damage", [b"", b"clubos-mark-1 0\n{}", b"\xff\x00" * 40])
def test_a_damaged_file_is_told_and_not_believed(file, damage):
    file.path.write_bytes(damage)
    with pytest.raises(Broken, match="damaged"):
        file.read()


def test_a_changed_letter_is_seen(file):
    file.write(b'{"sent_no":41}')
    file.path.write_bytes(file.path.read_bytes().replace(b"41", b"14"))
    with pytest.raises(Broken, match="damaged"):
        file.read()


def test_a_medium_that_is_away_is_a_sentence_for_reader_and_writer(tmp_path):
    file = MarkFile(tmp_path / "unplugged" / "bedford.mark")
    with pytest.raises(Broken, match="plugged in and mounted"):
        file.read()
    with pytest.raises(Broken, match="cannot be written"):
        file.write(b"{}")


def test_a_write_that_fails_leaves_the_old_mark(file, monkeypatch):
    file.write(b'{"sent_no":41}')

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(Broken, match="no space left"):
        file.write(b'{"sent_no":42}')
    assert file.read() == b'{"sent_no":41}'


def test_it_is_seen_whether_the_mark_would_be_lost_with_the_books(file, tmp_path):
    assert file.on_medium_of(tmp_path)
    assert not file.on_medium_of(tmp_path / "nowhere")
    assert not file.on_medium_of("/proc")
