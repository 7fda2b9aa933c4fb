"""`millrace retrain`: what a scheduler calls every night."""

import argparse
import time
from pathlib import Path

from pipeline.fetching.source import add_size_limit
from pipeline.runtime.errors import GateRefused, say
from pipeline.runtime.processes import acquire_lock

HELP = "train again if there is a reason to, and promote what is better; safe to call at any time"
LOCK = "retrain"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "--wait", type=float, default=0.0, metavar="SECONDS", help="wait so long for another retrain to end"
    )
    parser.add_argument(
        "--time-limit", type=float, metavar="MINUTES", help="stop after that; the next call goes on"
    )
    parser.add_argument("--force", action="store_true", help="train also if nothing asks for it")
    parser.add_argument(
        "--restart", action="store_true", help="begin anew instead of going on with an unfinished retrain"
    )
    parser.add_argument(
        "--ignore-edits",
        action="store_true",
        help="go on beside uncommitted edits; they are not part of the retrain",
    )
    parser.add_argument(
        "--accept-drift",
        default="",
        metavar="REASON",
        help="take data that drifted too far; the reason is recorded",
    )
    parser.add_argument(
        "--environment",
        type=Path,
        metavar="FILE",
        help="variables of the environment, as a schedule keeps them",
    )
    text = "only say what it would follow, and where it would push (publish in retrain.yaml)"
    parser.add_argument("--dry-run", action="store_true", help=text)
    add_size_limit(parser)


def run(options: argparse.Namespace) -> None:
    """Run the command.

    Raises:
        GateRefused: The new model is not the champion.
        UserError: Anything else that a person must know.
    """
    from pipeline.retraining.children import Children
    from pipeline.retraining.retrain import Wishes, plan, retrain
    from pipeline.retraining.schedules import take_environment
    from pipeline.retraining.triggers import load_settings
    from pipeline.runtime.paths import TREE

    if options.environment is not None:
        take_environment(options.environment)
    deadline = None if options.time_limit is None else time.monotonic() + 60 * options.time_limit
    wishes = Wishes(
        options.force, options.ignore_edits, options.accept_drift.strip(), options.max_gib, options.restart
    )
    settings = load_settings()
    if options.dry_run:
        for line in plan(Children(Path.cwd(), Path.cwd() / TREE, None), settings):
            say(line)
        return
    with acquire_lock(LOCK, wait_seconds=options.wait):
        entry = retrain(Children(Path.cwd(), Path.cwd() / TREE, deadline), settings, wishes)
    if entry.get("pushed"):
        say(f"Results: {entry['commit'][:10]}; git: {entry['pushed']}; data: {entry['data_pushed']}.")
    said = " ".join(entry["reasons"])
    if entry["outcome"] in ("refused", "held"):
        raise GateRefused(f"{entry['model']} version {entry['version']} is not the champion. {said}")
    what = f"{entry['model']} version {entry['version']}: " if "version" in entry else ""
    say(f"{what}{entry['outcome'].replace('_', ' ')}. {said}")
