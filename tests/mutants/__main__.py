"""Whether the tests notice when a safeguard is gone: `make mutants`, or `python -m tests.mutants WORD` for some.

Each mutant gets a copy of the project of its own. First all tests named by mutants must pass on an unchanged copy, none
of them skipped: a test that is red anyway, or never runs, proves nothing.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.conftest import copy_project
from tests.mutants.mutant import Mutant
from tests.mutants.mutants import MUTANTS

LIMIT_SECONDS = 600
"""Per file of tests: on two busy cores one that trains takes five minutes, and the unchanged copy runs all of them."""
TESTS_FAILED = 1
OUTCOMES = {0: "SURVIVED", TESTS_FAILED: "killed"}


def main() -> None:
    """Print a table; exit code 1 unless every mutant was killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*", help="only mutants with one of these words in their name")
    words = parser.parse_args().words
    chosen = [item for item in MUTANTS if not words or any(word in item.name for word in words)]
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        unchanged = Path(folder) / "unchanged"
        copy_project(unchanged)
        # Tests list the project's files by git.
        subprocess.run(["git", "init", "-q"], cwd=unchanged, check=True)
        named = sorted({test for mutant in chosen for test in mutant.tests})
        code, output = run_tests(unchanged, named)
        print(output.splitlines()[-1], flush=True)
        if code != 0 or "skipped" in output.splitlines()[-1]:
            sys.exit(f"{output[-5000:]}\nThese must pass on unchanged code, and none may be skipped.")
        outcomes = [outcome_of(mutant, unchanged, Path(folder) / "mutant") for mutant in chosen]
    print(f"{outcomes.count('killed')} of {len(chosen)} killed")
    sys.exit(0 if set(outcomes) == {"killed"} else 1)


def outcome_of(mutant: Mutant, unchanged: Path, folder: Path) -> str:
    """Return `killed`, `SURVIVED`, `STALE` (its text is not there once) or `BROKEN` (the tests did not run)."""
    start = time.monotonic()
    # With the compiled files: only what is changed is compiled anew.
    shutil.copytree(unchanged, folder, symlinks=True)
    output = ""
    if mutate(mutant, folder):
        code, output = run_tests(folder, mutant.tests)
        outcome = OUTCOMES.get(code, "BROKEN")
    else:
        outcome = "STALE"
    shutil.rmtree(folder)
    print(f"{outcome:<9} {time.monotonic() - start:5.1f} s  {mutant.name} ({mutant.file})", flush=True)
    if outcome == "BROKEN":
        print(output[-2000:])
    return outcome


def mutate(mutant: Mutant, root: Path) -> bool:
    """Change a copy of the project; return whether the text was there exactly once."""
    path = root / mutant.file
    text = path.read_text() if path.is_file() else ""
    if text.count(mutant.old) != 1:
        return False
    path.write_text(text.replace(mutant.old, mutant.new))
    return True


def run_tests(folder: Path, tests: Sequence[str]) -> tuple[int, str]:
    """Return pytest's exit code and output; tests that never end count as failed."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-x",
        "-q",
        "-n",
        "0",
        "-m",
        "",
        "-p",
        "no:cacheprovider",
        *tests,
    ]
    environment = os.environ | {"PYTHONPATH": str(folder)}
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=LIMIT_SECONDS * len(tests),
            check=False,
        )
    except subprocess.TimeoutExpired:
        return TESTS_FAILED, "they did not end"
    return done.returncode, done.stdout + done.stderr


if __name__ == "__main__":
    main()
