"""Shell: the pure cores compiled to machine code (mypyc, which comes with mypy), for simulations of many households.

The same source, type-checked, gives the same figures to the digit (a test compares them), in half the time. Needs the
extra `dev` and a C compiler; compiling takes half a minute, once for each state of the source.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".compiled"
PACKAGES = ("benches", "capture", "codec", "transport")
MODULES = (
    *(f"transport/{name}.py" for name in ("periods", "limits", "book", "steady", "budget")),
    *(
        f"capture/{name}.py"
        for name in ("units", "ladder", "prices", "habits", "conditions", "pace", "wording", "governor")
    ),
    *(f"benches/{name}.py" for name in ("homes", "throttles")),
)
"""Where a simulation spends its time."""


def build() -> Path:
    """Return a folder with a copy of the packages in which MODULES are compiled; made where it is missing.

    Raises:
        RuntimeError: the compiler failed; the text is what it said.
    """
    digest = hashlib.sha256(sys.version.encode())
    for path in sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        digest.update(path.read_bytes())
    made = FOLDER / digest.hexdigest()[:16]
    if made.exists():
        return made
    shutil.rmtree(FOLDER, ignore_errors=True)
    draft = FOLDER / "draft"
    for package in PACKAGES:
        shutil.copytree(ROOT / package, draft / package, ignore=shutil.ignore_patterns("__pycache__"))
    (draft / "mypy.ini").write_text("[mypy]\nignore_missing_imports = True\n")
    done = subprocess.run(
        [sys.executable, "-m", "mypyc", *MODULES], cwd=draft, env=_environment(draft), capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"the cores could not be compiled:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    shutil.rmtree(draft / "build")
    draft.rename(made)
    return made


def run(module: str, arguments: Sequence[str]) -> int:
    """Run a module of ours with the compiled cores; return its exit code."""
    folder = build()
    return subprocess.run([sys.executable, "-m", module, *arguments], env=_environment(folder)).returncode


def _environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(folder), "PYTHONSAFEPATH": "1"}
