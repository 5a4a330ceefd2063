"""`clubos` finds its sub-commands, hands them the rest of the line and names the choices when it does not know one."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy import cli

TOY = (cli.Command("toy", "play", "toy_command"), cli.Command("other", "never opened", "no_such_module"))


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "toy_command.py").write_text("def main(argv):\n    print('played', argv)\n    return len(argv)\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("toy_command", None)


@pytest.mark.usefixtures("toy")
def test_a_sub_command_gets_the_rest_of_the_line_and_gives_the_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["toy", "--help", "twice"], TOY) == 2
    assert "played ['--help', 'twice']" in capsys.readouterr().out


@pytest.mark.parametrize("line", [["bogus"], [], ["--bogus", "toy"]])
def test_what_it_does_not_know_ends_with_2_and_a_line_that_says_so(line: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(line, TOY)
    assert ended.value.code == 2
    assert "usage: clubos" in capsys.readouterr().err


@pytest.mark.usefixtures("toy")
def test_help_lists_every_sub_command_and_opens_none(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["--help"], TOY)
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert all(command.name in said and command.help in said for command in TOY)
    assert "toy_command" not in sys.modules


def test_it_says_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert capsys.readouterr().out.startswith("clubos-booking ")


@pytest.mark.parametrize("command", cli.COMMANDS, ids=lambda command: command.name)
def test_every_sub_command_can_be_opened(command: cli.Command) -> None:
    assert callable(importlib.import_module(command.module).main)
