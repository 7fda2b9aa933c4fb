"""`millrace ...`: what a user types beside `dvc repro`. Each command is a file in `pipeline/commands`.

A command's file has `HELP`, `add_arguments(parser)` and `run(options)`; what is heavy it imports in `run`, so that
`millrace --help` stays quick. `RECORDED = False` says that `.millrace/status.json` is left alone.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from pipeline.runtime import paths
from pipeline.runtime.paths import stored_path
from pipeline.runtime.stage import exit_codes

COMMANDS = (
    "init",
    "refresh",
    "weights",
    "retrain",
    "history",
    "schedule",
    "report",
    "predict",
    "serve",
    "reproduce",
    "lineage",
    "rollback",
    "verify",
    "clean",
)
"""In the order of `millrace --help`."""
USAGE_EXIT_CODE = 64


class _Parser(argparse.ArgumentParser):
    """argparse with this project's exit code for usage, and without guessing abbreviations."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(USAGE_EXIT_CODE, f"{self.prog}: {message}. See `{self.prog} --help`.\n")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a `millrace` command.

    Args:
        arguments: As typed after `millrace`; None takes those of the process.

    Raises:
        SystemExit: With an exit code of `docs/guides/exit-codes.md` when anything goes wrong.
    """
    options = _parser().parse_args(arguments)
    command = _module(options.command)
    if options.debug:
        os.environ["MILLRACE_DEBUG"] = "1"
    with exit_codes(options.command, recorded=getattr(command, "RECORDED", True)):
        root = paths.project_root()
        given_path = getattr(options, "path", None)
        if given_path is not None:
            options.path = stored_path(Path(given_path), root)
        os.chdir(root)
        command.run(options)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="millrace", description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in COMMANDS:
        command = _module(name)
        command.add_arguments(commands.add_parser(name, help=command.HELP, allow_abbrev=False))
    return parser


def _module(name: str) -> Any:
    return import_module(f"pipeline.commands.{name}")


if __name__ == "__main__":
    main()
