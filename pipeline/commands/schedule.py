"""`millrace schedule`: let the machine, or another one, run `millrace retrain` every night."""

import argparse
import os
import re
import sys
from pathlib import Path

from pipeline.runtime.errors import UserError, WronglyCalled, say
from pipeline.runtime.files import read_json
from pipeline.runtime.paths import NIGHT_ENVIRONMENT

HELP = "install or show a schedule for `millrace retrain`: systemd, cron, GitHub Actions, Kubernetes"
RECORDED = False
NEEDED = ("MLFLOW_TRACKING_URI", "MILLRACE_NOTIFY_URL")
"""Without them a night judges elsewhere, and tells nobody."""
LINGER = "It runs while you are logged in; `loginctl enable-linger` lets it run always."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    from pipeline.retraining.schedules import KINDS

    parser.add_argument("action", choices=("show", "install", "uninstall"))
    parser.add_argument("--kind", required=True, choices=KINDS)
    parser.add_argument("--at", default="02:30", metavar="HH:MM", help="time of day (default: 02:30)")
    parser.add_argument(
        "--time-limit", type=int, default=360, metavar="MINUTES", help="of one retrain (default: 360)"
    )

    text = "install: whether nights push their results (default: as retrain.yaml says; on a terminal it is asked)"
    parser.add_argument("--publish", choices=("none", "push"), help=text)


def run(options: argparse.Namespace) -> None:
    """Run the command.

    Raises:
        WronglyCalled: The kind cannot be installed from here, or the time is none.
    """
    from pipeline.retraining import schedules
    from pipeline.retraining.triggers import PUSH, load_settings

    root, at = Path.cwd(), _time_of(options.at)
    if options.time_limit < 1:
        raise WronglyCalled(
            f"--time-limit is too short. Expected 1 minute or more. Received: --time-limit={options.time_limit}."
        )
    if options.action == "show":
        for name, content in schedules.rendered(options.kind, root, at, options.time_limit).items():
            print(f"# {name}\n{content}" if options.kind == "systemd" else content, end="")
        if options.kind not in schedules.INSTALLABLE and load_settings().publish != PUSH:
            print(
                "What runs there starts empty and keeps nothing: set `publish: push` in retrain.yaml and commit it, or "
                "results end with the night.",
                file=sys.stderr,
            )
        left = (
            [name for name in NEEDED if os.environ.get(name)] if options.kind in schedules.INSTALLABLE else []
        )
        if left:
            print(
                f"{' and '.join(left)}, set here, will not be there at night. Give it to what you install by hand; "
                f"`millrace schedule install --kind {options.kind}` takes it along.",
                file=sys.stderr,
            )
        return
    if options.kind not in schedules.INSTALLABLE:
        raise WronglyCalled(
            f"{options.kind} is installed where it runs, not here. Expected --kind systemd or cron. "
            f"Received: --kind={options.kind}. `millrace schedule show --kind {options.kind}` prints the file."
        )
    if options.action == "install":
        _settle_publishing(root, options.publish)
        _install(options.kind, root, at, options.time_limit)
    else:
        _uninstall(options.kind, root)


def _install(kind: str, root: Path, at: tuple[int, int], minutes: int) -> None:
    from pipeline.retraining import schedules

    if kind == "systemd":
        for path in schedules.install_systemd(root, at, minutes):
            say(f"wrote {path}")
        print(f"Every night at {at[0]:02d}:{at[1]:02d}. {LINGER}")
    else:
        schedules.install_cron(root, at, minutes)
        print(f"Every night at {at[0]:02d}:{at[1]:02d}; output goes to .millrace/retrain/cron.log.")
    taken = ", ".join(read_json(root / NIGHT_ENVIRONMENT)) or "nothing is set that a night needs"
    print(f"Of this environment it takes along: {taken} ({NIGHT_ENVIRONMENT}, for your eyes only).")
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        print(
            "Runs and champions are those of mlflow.db in this project: MLFLOW_TRACKING_URI is not set here."
        )
    print("`millrace history` shows what came of it.")


def _settle_publishing(root: Path, wanted: str | None) -> None:
    """Ask, where nobody said it, whether nights may push, and say what they will do."""
    from pipeline.retraining.children import Children
    from pipeline.retraining.retrain import plan
    from pipeline.retraining.triggers import PUSH, load_settings, write_publish
    from pipeline.runtime.paths import RETRAIN_YAML, TREE
    from pipeline.runtime.repository import has_remote

    settings, children = load_settings(), Children(root, root / TREE, None)
    there = has_remote(root) or bool(children.git("remote", folder=root, check=False).out.strip())
    if wanted is None and settings.publish != PUSH and there and sys.stdin.isatty():
        print(
            "Nights commit their results to a branch of their own. May they push it, and data, to your remotes?"
        )
        try:
            wanted = "push" if input("[y/N] ").strip().lower() in ("y", "yes") else "none"
        except EOFError:
            wanted = "none"
    if wanted is not None and wanted != settings.publish:
        write_publish(wanted)
        print(f"{RETRAIN_YAML} says publish: {wanted} now. Commit it: a retrain works on what is committed.")
    try:
        print("\n".join(plan(children, load_settings())))
    except UserError as error:  # the night would say it too, to nobody
        print(error)


def _uninstall(kind: str, root: Path) -> None:
    from pipeline.retraining import schedules

    if kind == "systemd":
        removed = schedules.uninstall_systemd(root)
        print("\n".join(f"removed {path}" for path in removed) or "Nothing was installed.")
    else:
        print("Removed from the crontab." if schedules.uninstall_cron(root) else "Nothing was installed.")


def _time_of(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)", text)
    if found is None:
        raise WronglyCalled(f"--at is no time of day. Expected HH:MM, such as 02:30. Received: --at={text}.")
    return int(found[1]), int(found[2])
