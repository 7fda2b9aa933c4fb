"""`millrace history`: every retrain, why it ran and what was decided."""

import argparse
import json

from pipeline.runtime.errors import WronglyCalled
from pipeline.runtime.processes import terminal

HELP = "show every retrain: when, why, on which data, what was decided"
RECORDED = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("--json", action="store_true", help="one JSON object per line, all facts")
    parser.add_argument(
        "--limit", type=int, default=30, metavar="N", help="the last N, 0 for all (default: 30)"
    )


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from pipeline.retraining import journal
    from pipeline.runtime.files import read_lines
    from pipeline.runtime.paths import HISTORY, HISTORY_HTML, JOURNAL

    if options.limit < 0:
        raise WronglyCalled(
            f"--limit cannot be negative. Expected 0 or more. Received: --limit={options.limit}."
        )
    entries = read_lines(HISTORY)[-options.limit :] if options.limit else read_lines(HISTORY)
    if options.json:
        for entry in entries:
            print(json.dumps(entry, sort_keys=True))
        return
    journal.print_table(entries, terminal())
    left = journal.unfinished(JOURNAL)
    if left is not None:
        done = ", ".join(left.facts) or "nothing"
        print(
            f"The retrain of {left.run_id} is not finished (done: {done}); `millrace retrain` goes on with it."
        )
    if entries:
        print(f"All figures: {HISTORY_HTML}, or `millrace history --json`.")
