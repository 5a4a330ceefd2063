"""The picture of who may import whom, and a reader of source trees that holds them to it.

It reads files (with `ast`) and never imports them, so it can judge a tree that does not run. What it knows of the picture stands in
the tables at the top; `tests/test_imports.py` applies it to this project and, as a twin, to trees that break every rule.

Invariant: a file that belongs to no room of the picture is a breach itself, so nothing stays unjudged.
"""

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOTS = ("shared", "site_agent", "cloud_hub", "deploy")
SIDES = ("site_agent", "cloud_hub")

# Which rooms of one side a room may enter. Rooms not named in a value are closed to it. `store.board` is the part of the store that
# pages read from; to change anything they go through services.
SIDE_ROOMS: dict[str, set[str]] = {
    "web": {"web", "services", "store.board", "ports", "config"},
    "services": {"services", "store", "store.board", "ports", "config"},
    "jobs": {"jobs", "services", "ports", "config"},
    "store": {"store", "store.board"},
    "store.board": {"store", "store.board"},
    "ports": {"ports"},
    "devices": {"devices", "ports"},
    "vendors": {"vendors", "ports"},
    "config": {"config"},
    # opens the channels that the configuration names, for app
    "telling": {"services", "ports", "vendors", "config"},
    "app": {"web", "services", "jobs", "store", "store.board", "ports", "devices", "vendors", "config", "app", "telling"},
    "__main__": {"app", "config", "services", "store", "store.board", "jobs", "ports", "devices", "vendors", "recovery"},
    # commands for after a loss: they open the books while nothing else runs
    "recovery": {"app", "config", "services", "store"},
    "__init__": set(),
}
# Which rooms of shared/ a room may enter.
SHARED_ROOMS: dict[str, set[str]] = {
    "pure": {"pure"},
    "ledger": {"pure", "ledger", "runtime"},
    "runtime": {"runtime", "errors"},
    "web": {"pure", "runtime"},
    "services": {"pure", "ledger", "runtime"},
    "jobs": {"pure", "runtime"},
    "store": {"pure", "ledger", "runtime"},
    "store.board": {"pure", "ledger", "runtime"},
    "ports": {"pure"},
    "devices": {"pure", "runtime"},
    "vendors": {"pure", "runtime"},
    "config": {"pure", "runtime"},
    "app": {"pure", "ledger", "runtime"},
    "__main__": {"pure", "ledger", "runtime"},
    "recovery": {"pure", "ledger", "runtime"},
    "telling": {"pure", "ledger", "runtime"},
    "__init__": set(),
}

# Libraries that exactly one file of the product may import.
ONE_IMPORTER = (
    "paho", "apscheduler", "segno", "obstore", "psycopg", "pyrage",
    "twilio", "sendgrid", "pywebpush", "aiosmtplib", "hubspot", "stripe", "zxingcpp", "fido2",
)  # fmt: skip
PURE_LIBRARIES = {"msgspec"}
# Signing is arithmetic; making a key is not, and stays outside.
PURE_LIBRARIES_BY_FILE = {f"shared.{name}": {"cryptography"} for name in ("keys", "passes", "quotes", "sealing")}
# The parts of the standard library through which a clock, randomness or the outside comes in.
IMPURE_STDLIB = {
    "asyncio", "concurrent", "http", "io", "logging", "multiprocessing", "os", "pathlib", "random", "secrets", "select", "shutil",
    "signal", "socket", "sqlite3", "ssl", "subprocess", "tempfile", "threading", "time", "urllib",
}  # fmt: skip
IMPURE_CALLS = {"now", "utcnow", "today", "uuid1", "uuid4"}
IMPURE_NAMES = {"open", "print", "input"}
# A web page or a wire has no business in the books, nor the books on the wire.
NO_WEB_LIBRARIES = {"litestar", "uvicorn", "httpx"}

# The bench runs the naive way beside ours, and the naive way is bare SQL.
SQL_HOMES = re.compile(r"^(shared/ledger/|shared/runtime/(database|postgres)(\.py|/|_)|(site_agent|cloud_hub)/store/|deploy/bench(\.py|/|_))")
SQL = re.compile(
    r"^\s*(?:WITH\s\w+\s(?:\([^)]*\)\s)?AS\b|SELECT\b.*\bFROM\b|SELECT\s+[\d:?]|INSERT\s+(?:OR\s+\w+\s+)?INTO\b|REPLACE\s+INTO\b"
    r"|UPDATE\s+\S+\s+SET\b|DELETE\s+FROM\b|CREATE\s+(?:UNIQUE\s+|TEMP\w*\s+|VIRTUAL\s+)?(?:TABLE|INDEX|TRIGGER|VIEW)\b"
    r"|ALTER\s+TABLE\b|DROP\s+(?:TABLE|INDEX|TRIGGER|VIEW)\b|PRAGMA\s+\w|BEGIN\s+(?:IMMEDIATE|EXCLUSIVE|DEFERRED|TRANSACTION)\b"
    r"|BEGIN;?\s*$|COMMIT;?\s*$|ROLLBACK\b(?:\s+TO\b.*|;?\s*)$|SAVEPOINT\s+\w|RELEASE\s+SAVEPOINT\b|VACUUM\b|ATTACH\s+DATABASE\b)",
    re.DOTALL,
)
HANDLER_WORDS = {"get", "post", "put", "patch", "delete", "head", "route", "websocket", "asgi", "Controller"}


@dataclass(frozen=True, order=True)
class Breach:
    """One place where the tree leaves the picture: file (relative to the tree's root), line, and what is wrong in a sentence."""

    path: str
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.what}"


@dataclass(frozen=True)
class Source:
    """One parsed file: its path under the root, its dotted module name, its tree."""

    path: str
    module: str
    tree: ast.Module

    @property
    def package(self) -> str:
        return self.module if self.path.endswith("__init__.py") else self.module.rpartition(".")[0]


def breaches(root: Path) -> list[Breach]:
    """Every breach of the picture in the product's packages under `root`, in order of file and line."""
    sources = list(read(root))
    known = {source.module for source in sources}
    found: list[Breach] = []
    importers: dict[str, dict[str, int]] = defaultdict(dict)
    for source in sources:
        for line, target in imports_of(source, known):
            found += [Breach(source.path, line, what) for what in judge_import(source, target)]
            library = target.partition(".")[0]
            if library in ONE_IMPORTER:
                importers[library].setdefault(source.path, line)
        found += judge_room(source)
        found += judge_sql(source)
        found += judge_top_level(source)
        found += judge_handlers(source)
        if room_of(source.module) == "pure":
            found += judge_purity(source)
    for library, files in importers.items():
        if len(files) > 1:
            found += [Breach(path, line, f"{library} is imported by {len(files)} files: {', '.join(sorted(files))}; one may")
                      for path, line in files.items()]  # fmt: skip
    return sorted(set(found))


def read(root: Path) -> Iterator[Source]:
    for top in ROOTS:
        for file in sorted((root / top).rglob("*.py")):
            relative = file.relative_to(root)
            parts = relative.with_suffix("").parts
            module = ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)
            yield Source(relative.as_posix(), module, ast.parse(file.read_text(encoding="utf-8"), filename=str(relative)))


def imports_of(source: Source, known: set[str]) -> Iterator[tuple[int, str]]:
    """(line, dotted target) of every import, wherever in the file; `from a import b` is a.b where that is a module of the tree."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = source.package.split(".")
                base = ".".join(package[: len(package) - node.level + 1] + ([node.module] if node.module else []))
            for alias in node.names:
                yield node.lineno, f"{base}.{alias.name}" if f"{base}.{alias.name}" in known else base


def room_of(module: str) -> str | None:
    """The room a module of the tree stands in, or None where the picture has none for it."""
    top, _, rest = module.partition(".")
    if top in ("deploy", "tests"):
        return top
    first = rest.partition(".")[0]
    if top == "shared":
        return {"ledger": "ledger", "runtime": "runtime", "": "__init__"}.get(first) or ("pure" if "." not in rest else None)
    if top in SIDES:
        if rest == "store.board" or rest.startswith("store.board."):
            return "store.board"
        return first or "__init__" if (first or "__init__") in SIDE_ROOMS else None
    return None


def judge_room(source: Source) -> Iterator[Breach]:
    if room_of(source.module) is None:
        yield Breach(source.path, 1, "stands in no room of the picture")


def judge_import(source: Source, target: str) -> Iterator[str]:
    top, target_top = source.module.partition(".")[0], target.partition(".")[0]
    room = room_of(source.module)
    if top == "deploy" or room is None:
        return
    if target_top in ("deploy", "tests"):
        yield f"{top} may not import {target}: only deploy and tests look over the whole"
    elif target_top in SIDES and target_top != top:
        yield f"{top} may not import {target}: {'the sides' if top in SIDES else 'shared and a side'} are joined by messages only"
    elif target_top in SIDES:
        target_room = room_of(target)
        if target_room is not None and target_room not in SIDE_ROOMS[room] | {"__init__"}:
            yield f"{room} may not import {target_room} ({target})"
    elif target_top == "shared":
        target_room = room_of(target)
        allowed = SHARED_ROOMS[room] | {"__init__"}
        if target_room not in allowed and target.removeprefix("shared.") not in allowed:
            yield f"{room} may not import {target_room} ({target})"
    elif room == "pure":
        yield from judge_pure_library(source.module, target_top)
    elif room in ("ledger", "store", "store.board", "services", "ports") and target_top in NO_WEB_LIBRARIES:
        yield f"{room} may not import {target_top}: it belongs to the web and to the wires"


def judge_pure_library(module: str, library: str) -> Iterator[str]:
    if library in IMPURE_STDLIB:
        yield f"pure code may not import {library}: clock, randomness and the outside are handed in"
    elif library not in sys.stdlib_module_names | PURE_LIBRARIES | PURE_LIBRARIES_BY_FILE.get(module, set()):
        yield f"pure code may not import {library}: standard library and msgspec only"


def judge_purity(source: Source) -> Iterator[Breach]:
    """Calls that bring in a clock, randomness or the outside without an import that gives them away."""
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Attribute) and node.func.attr in IMPURE_CALLS:
            owner = ast.unparse(node.func.value).rpartition(".")[2]
            if owner in {"datetime", "date", "uuid"}:
                yield Breach(source.path, node.lineno, f"pure code may not call {owner}.{node.func.attr}(): now and ids are arguments")
        elif isinstance(node.func, ast.Name) and node.func.id in IMPURE_NAMES | {"uuid1", "uuid4"}:
            yield Breach(source.path, node.lineno, f"pure code may not call {node.func.id}()")


def judge_sql(source: Source) -> Iterator[Breach]:
    if SQL_HOMES.match(source.path):
        return
    docstrings = {id(statement.value) for node in ast.walk(source.tree) for statement in _docstring_of(node)}
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings and looks_like_sql(node.value):
            yield Breach(source.path, node.lineno, "SQL lives in ledger, store and runtime/database only")


def looks_like_sql(text: str) -> bool:
    """Whether a string is a statement: its words all in capitals, or all in small letters as nobody begins a sentence."""
    return bool(SQL.match(text) or (text[:1].islower() and re.match(r"\s*(insert|update|delete|create|alter|drop|pragma|select \S+ from)\b",
                                                                   text) and SQL.match(text.upper())))  # fmt: skip


def judge_top_level(source: Source) -> Iterator[Breach]:
    """Nothing happens on import: no bare call at the top level but under `if __name__ == "__main__"`."""
    for node in source.tree.body:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call | ast.Await):
            yield Breach(source.path, node.lineno, f"something happens on import: {ast.unparse(node)[:60]}")
        elif isinstance(node, ast.For | ast.While | ast.With):
            yield Breach(source.path, node.lineno, f"something happens on import: a {type(node).__name__.lower()} at the top level")
        elif isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Call):
            called = ast.unparse(node.value.func).rpartition(".")[2]
            if called in {"Litestar", "connect", "open", "Client", "AsyncClient", "Database", "socket", "urandom", "token_bytes"}:
                yield Breach(source.path, node.lineno, f"something is built on import: {called}(...); app builds it")


def judge_handlers(source: Source) -> Iterator[Breach]:
    """Litestar resolves the types of handlers when the app starts, so their files need them for real."""
    from_litestar = {
        alias.name
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "litestar"
        for alias in node.names
    }
    if not from_litestar & HANDLER_WORDS:
        return
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ImportFrom) and node.module == "__future__" and any(alias.name == "annotations" for alias in node.names):
            yield Breach(source.path, node.lineno, "a file with handlers may not postpone its annotations")
        elif isinstance(node, ast.If) and ast.unparse(node.test).rpartition(".")[2] == "TYPE_CHECKING":
            yield Breach(source.path, node.lineno, "a file with handlers may not import under TYPE_CHECKING")


def _docstring_of(node: ast.AST) -> list[ast.Expr]:
    body = getattr(node, "body", None)
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and body and isinstance(body[0], ast.Expr):
        return [body[0]]
    return []
