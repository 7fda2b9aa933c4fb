"""The command `millrace`: the `pipeline` beside this file, also where PYTHONPATH has another package of that name."""

import os
import sys
from pathlib import Path


def main() -> None:
    """Run the command line of this project."""
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    # With it, what we start by `-m` would look there before it looks here.
    os.environ.pop("PYTHONSAFEPATH", None)
    from pipeline.cli import main as run

    run()
