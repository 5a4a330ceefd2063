"""The repository itself: what lies in it, what does not, and that the wheel's list of packages is the tree's."""

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGE_ROOTS = ("cloud_hub", "deploy", "shared", "site_agent")
TOP_LEVEL = {
    ".ci", ".gitignore", "CHANGELOG.md", "LICENSE", "Makefile", "README.md", "pyproject.toml", "requirements",
    "cloud_hub", "deploy", "shared", "site_agent", "systemd", "tests",
}  # fmt: skip
LOCKS = ("site", "hub", "dev")
MADE_BY_TOOLS = {".git", ".venv", "build", "dist", "__pycache__", ".pytest_cache", ".ruff_cache", ".hypothesis"}

# Written in pieces, so that this file does not hold what it looks for.
REGISTRY = re.compile("|".join((
    "pypi" + r"\.org", "pythonhosted" + r"\.org", "registry" + r"\.npmjs", "crates" + r"\.io", "proxy" + r"\.golang",
    "registry" + r"-1\.docker", "quay" + r"\.io", "ghcr" + r"\.io",
)))  # fmt: skip
MACHINE_PATH = re.compile(r"(?<![\w.~-])(" + "|".join((
    "/wo" + "rk/", "/ro" + "ot/", "/tmp/br" + "ief", "/opt/py" + "pi", "/opt/wh" + "eels",
)) + ")")  # fmt: skip


def kept_files() -> list[str]:
    """What is or would be committed, relative to the root; without git (an unpacked archive) everything that no tool has made."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, capture_output=True, check=True).stdout.decode().split("\0")
    except (OSError, subprocess.CalledProcessError):
        listed = []
        for folder, folders, files in os.walk(ROOT):
            folders[:] = [name for name in folders if name not in MADE_BY_TOOLS and not name.endswith(".egg-info")]
            listed += [(Path(folder) / name).relative_to(ROOT).as_posix() for name in files]
    return sorted(path for path in listed if path and (ROOT / path).is_file())


def texts() -> list[tuple[str, str]]:
    """(path, text) of every kept file that is text."""
    found = []
    for path in kept_files():
        try:
            found.append((path, (ROOT / path).read_text(encoding="utf-8")))
        except UnicodeDecodeError:
            continue
    return found


def test_the_top_level_holds_only_what_belongs_there() -> None:
    assert {path.partition("/")[0] for path in kept_files()} <= TOP_LEVEL


@pytest.mark.parametrize(("what", "pattern"), [("a package registry's host", REGISTRY), ("a path of somebody's machine", MACHINE_PATH)])
def test_no_kept_file_names(what: str, pattern: re.Pattern[str]) -> None:
    found = [f"{path}: {match[0]}" for path, text in texts() for match in pattern.finditer(text)]
    assert not found, f"{what} stands in {found}"


@pytest.mark.parametrize(("pattern", "text"), [(REGISTRY, "https://py" + "pi.org/simple"), (MACHINE_PATH, "cd /wo" + "rk/main")])
def test_the_patterns_find_what_they_look_for(pattern: re.Pattern[str], text: str) -> None:
    assert pattern.search(text)


def test_no_other_lock_than_the_hashed_ones_is_kept() -> None:
    names = {path.rpartition("/")[2] for path in kept_files()}
    assert not names & {"uv" + ".lock", "pylock" + ".toml", "poetry.lock", "Pipfile.lock", "package-lock.json"}
    assert {path for path in kept_files() if path.startswith("requirements/")} == {f"requirements/{name}.txt" for name in LOCKS}


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_holds_names_versions_and_hashes_only(name: str) -> None:
    lines = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    package = re.compile(r"^[a-z0-9][a-z0-9._-]*==[^\s;]+( ; [\w\s.'\"<>=!()]+)? \\$")
    digest = re.compile(r"^    --hash=sha256:[0-9a-f]{64}( \\)?$")
    assert lines and [line for line in lines if not package.match(line) and not digest.match(line)] == []
    packages = [index for index, line in enumerate(lines) if package.match(line)]
    assert all(digest.match(lines[index + 1]) for index in packages), "every package needs a hash"


def test_the_locks_agree_on_every_version() -> None:
    pins = {name: dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", (ROOT / "requirements" / f"{name}.txt").read_text(), re.M)) for name in LOCKS}
    for name in ("site", "hub"):
        assert pins[name].items() <= pins["dev"].items(), f"requirements/{name}.txt and requirements/dev.txt differ: run make lock"


def test_every_dependency_is_in_its_lock() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    wanted = {"site": ["site"], "hub": ["hub"], "dev": ["site", "hub", "demo", "dev"]}
    for name, sets in wanted.items():
        asked = [*PROJECT["project"]["dependencies"], *(line for extra in sets for line in extras[extra])]
        names = {re.match(r"[A-Za-z0-9._-]+", line)[0].lower() for line in asked}
        locked = set(re.findall(r"^([a-z0-9._-]+)==", (ROOT / "requirements" / f"{name}.txt").read_text(), re.M))
        assert names <= locked, f"requirements/{name}.txt lacks {sorted(names - locked)}: run make lock"


def test_the_list_of_packages_is_the_tree() -> None:
    folders = {
        path.rpartition("/")[0].replace("/", ".")
        for path in kept_files()
        if path.endswith(".py") and path.partition("/")[0] in PACKAGE_ROOTS
    }
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == folders
    assert PROJECT["tool"]["setuptools"]["packages"] == sorted(PROJECT["tool"]["setuptools"]["packages"])


def test_every_package_has_its_init() -> None:
    kept = set(kept_files())
    missing = [name for name in PROJECT["tool"]["setuptools"]["packages"] if f"{name.replace('.', '/')}/__init__.py" not in kept]
    assert missing == []


def test_the_ci_runner_may_be_run() -> None:
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


@pytest.mark.parametrize("target", ["demo", "demo-check", "test", "test-all", "bench", "rules", "lint", "lock", "clean", "help"])
def test_make_knows(target: str) -> None:
    assert re.search(rf"^{target}:.*## \S", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M), f"make help does not list {target}"
