"""Runbooks that can be followed: every command of ours in them exists with those words, every page is found, every alarm has its page."""

import re
import shlex
from pathlib import Path

import pytest

from cloud_hub.__main__ import parser as hub_parser
from shared.runtime import database_disk
from site_agent.__main__ import _parser as site_parser
from site_agent.services.alarms import RUNBOOKS

FOLDER = Path(__file__).parents[2] / "deploy" / "runbooks"
PAGES = sorted(page for page in FOLDER.glob("*.md") if page.name != "README.md")
PARSERS = {"site-agent": site_parser, "cloud-hub": hub_parser}
BLOCK = re.compile(r"^ *```sh\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([\w-]+\.md)\)")
LINES_MAX = 60


def commands_of(page: Path) -> list[list[str]]:
    """Every command line in the page's blocks, as words."""
    return [shlex.split(line) for block in BLOCK.findall(page.read_text()) for line in block.splitlines() if line.strip()]


def ours(words: list[str]) -> list[str]:
    words = words[3:] if words[:2] == ["sudo", "-u"] else words
    return words if words[0] in PARSERS else []


def exists(words: list[str]) -> bool:
    """Whether the program takes these words."""
    try:
        PARSERS[words[0]]().parse_args(words[1:])
    except SystemExit:
        return False
    return True


OURS = [(page.stem, words) for page in PAGES for line in commands_of(page) if (words := ours(line))]


@pytest.mark.parametrize(("page", "words"), OURS, ids=[f"{page}: {' '.join(words[:3])}" for page, words in OURS])
def test_a_command_in_a_runbook_exists_with_these_words(page, words):
    assert exists(words), f"{page}.md: there is no such command: {' '.join(words)}"


def test_a_command_that_does_not_exist_would_be_found():
    assert not exists(["site-agent", "heal", "--config", "site.toml"])
    assert not exists(["site-agent", "run", "--config", "site.toml", "--quickly"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_is_short_and_leads_somewhere(page):
    text = page.read_text()
    assert text.startswith("# ") and len(text.splitlines()) <= LINES_MAX
    if "**Seen as:**" in text:
        assert "**By itself:**" in text, "whoever reads it must know what needs no hurry"
        assert "\n1. " in text, "and what comes first"
    for name in LINK.findall(text):
        assert (FOLDER / name).exists(), f"{page.name} leads to {name}, which is not there"


def test_the_list_names_every_page():
    assert {FOLDER / name for name in LINK.findall((FOLDER / "README.md").read_text())} == set(PAGES)


def test_every_trouble_of_the_disk_that_needs_a_person_has_its_page():
    assert set(RUNBOOKS) == set(database_disk.SENTENCES) - {database_disk.BUSY}
    assert {FOLDER / f"{name}.md" for name in RUNBOOKS.values()} <= set(PAGES)
