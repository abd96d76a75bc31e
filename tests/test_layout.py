"""The layers of the architecture and the purity of its cores, read from the source itself."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("capture", "codec", "transport")
COMPOSITION_ROOTS = {
    "capture/agent.py",
    "capture/cli.py",
    "capture/enrolling.py",
    "capture/erase_cli.py",
    "capture/parts.py",
    "capture/publishing.py",
    "capture/reviewing.py",
    "capture/sender.py",
    "capture/withdrawal.py",
}
"""The only modules of `capture` that may import `transport`: the agent, the commands, what lets a device in, and what sends
without recording."""

IMPURE = {
    "asyncio",
    "os",
    "socket",
    "subprocess",
    "threading",
    "time",
    "pathlib",
    "shutil",
    "signal",
    "tempfile",
    "random",
}
"""Modules that a Pure: module has no use for."""

ONE_PLACE = {
    "aiomqtt": "transport/mqtt_client.py",
    "paho": "transport/mqtt_client.py",
    "av": "codec/video.py",
    "mcap": "transport/exports/mcap.py",
    "mss": "capture/sources/screen.py",
    "pyarrow": "transport/exports/parquet.py",
    "rich": "capture/watch.py",
    "starlette": "capture/review/app.py",
    "uvicorn": "capture/review/server.py",
    "xcffib": "capture/sources/x11.py capture/sources/x11_clipboard.py capture/sources/x11_connection.py capture/sources/x11_windows.py",
}
"""Foreign libraries and the one module that wraps each."""

MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports_of(tree: ast.Module, *, typing_too: bool = True) -> set[str]:
    """Return the dotted names that a module imports, at any depth."""
    skipped: set[ast.AST] = set()
    if not typing_too:
        for node in ast.walk(tree):
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                skipped.update(child for statement in node.body for child in ast.walk(statement))
    found: set[str] = set()
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import at line {node.lineno}: write it absolute"
            found.add(node.module or "")
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def tops(names: set[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


def test_there_are_modules_to_look_at() -> None:
    assert len(MODULES) > 5


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_layers_are_not_crossed(path: Path) -> None:
    imported = tops(imports_of(parse(path)))
    package = name_of(path).split("/")[0]
    allowed = {"codec": set(), "transport": {"codec"}, "capture": {"codec"}}[package] | {package}
    if name_of(path) in COMPOSITION_ROOTS:
        allowed |= {"transport"}
    crossed = imported & (set(PACKAGES) | {"benches", "tests"}) - allowed
    assert not crossed, f"{name_of(path)} imports {sorted(crossed)}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_module_says_what_it_is(path: Path) -> None:
    docstring = ast.get_docstring(parse(path))
    assert docstring, f"{name_of(path)} has no docstring"
    if path.name == "__init__.py":
        return
    kind = docstring.split(":")[0]
    assert kind in {"Pure", "Shell", "Source"}, f"{name_of(path)} begins with neither Pure:, Shell: nor Source:"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_pure_modules_import_nothing_impure(path: Path) -> None:
    tree = parse(path)
    if not (ast.get_docstring(tree) or "").startswith("Pure:"):
        return
    impure = tops(imports_of(tree, typing_too=False)) & IMPURE
    assert not impure, f"{name_of(path)} calls itself pure and imports {sorted(impure)}"
    called = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    clocks = {
        name for name in called if name.endswith((".now", ".utcnow", ".today")) or name in {"open", "print", "input"}
    }
    assert not clocks, f"{name_of(path)} calls itself pure and calls {sorted(clocks)}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_foreign_libraries_stay_in_their_file(path: Path) -> None:
    imported = tops(imports_of(parse(path)))
    for library, place in ONE_PLACE.items():
        assert library not in imported or name_of(path) in place.split(), f"{library} is for {place} only"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_fsync_is_called_in_one_file(path: Path) -> None:
    calls = {ast.unparse(node.func) for node in ast.walk(parse(path)) if isinstance(node, ast.Call)}
    syncs = calls & {"os.fsync", "os.fdatasync"}
    assert not syncs or name_of(path) == "transport/fs.py"
