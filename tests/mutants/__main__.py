"""`python -m tests.mutants`: takes each promise out of the code in turn, and says which the tests did not notice.

Works in a copy. `--only WORD` for those with the word in their promise; `--database postgresql` for the other database.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.mutants.mutant import Mutant
from tests.mutants.mutants import MUTANTS
from tests.postgres import end_on_signals

ROOT = Path(__file__).resolve().parents[2]
CODE = ("agents", "approvals", "hitl_site", "templates", "static", "tests", "docs")
FILES = ("manage.py", "pyproject.toml", "requirements.txt")
FAILED = 1  # pytest: a test failed; 2 and more: it did not get so far


def main() -> int:
    """0 when each test noticed, else 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--only", default="")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    asked = parser.parse_args()
    end_on_signals()
    chosen = [each for each in MUTANTS if asked.only in each.promise]
    survivors = 0
    with tempfile.TemporaryDirectory(prefix="nod-mutants-") as folder:
        copy = _copy(Path(folder))
        for mutant in chosen:
            for test in mutant.tests:
                began = time.monotonic()
                said = _try(copy, mutant, test, asked.database)
                survivors += said != "noticed"
                print(f"{said:10} {time.monotonic() - began:5.1f} s  {mutant.promise}  ({test})", flush=True)
    print(f"{len(chosen)} promises taken out one by one; {survivors} times the test did not notice.")
    return 1 if survivors else 0


def _copy(folder: Path) -> Path:
    for name in CODE:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, folder / name)
    return folder


def _try(copy: Path, mutant: Mutant, test: str, database: str) -> str:
    path = copy / mutant.path
    whole = path.read_text()
    path.write_text(whole.replace(mutant.old, mutant.new))
    try:
        return _run(copy, test, database)
    finally:
        path.write_text(whole)


def _run(copy: Path, test: str, database: str) -> str:
    pytest = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", test]
    wrapped = [sys.executable, "-m", "tests.postgres", *pytest] if database == "postgresql" else pytest
    env = {**os.environ, "DEBUG": "1", "NOD_DATA": str(copy / "var"), "PYTHONDONTWRITEBYTECODE": "1"}
    env |= {"MODEL_CHECK": "200"}  # histories at most: it stops at the first that shows the fault
    done = subprocess.run(wrapped, cwd=copy, env=env, capture_output=True, text=True, check=False)
    if done.returncode == FAILED:
        return "noticed"
    return (
        "SURVIVED"
        if done.returncode == 0
        else f"ERROR {done.returncode}\n{done.stdout[-1500:]}{done.stderr[-500:]}"
    )


if __name__ == "__main__":
    sys.exit(main())
