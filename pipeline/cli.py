"""`millrace ...`: what a user types beside `dvc repro`. Each command is a file in `pipeline/commands`.

A command's file has `HELP`, `add_arguments(parser)` and `run(options)`; what is heavy it imports in `run`, so that
`millrace --help` stays quick. `RECORDED = False` says that `.millrace/status.json` is left alone.
"""

import argparse
import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from textwrap import fill, wrap
from typing import Any, NoReturn

from pipeline.runtime import paths
from pipeline.runtime.errors import say
from pipeline.runtime.paths import stored_path
from pipeline.runtime.stage import exit_codes

GROUPS: Mapping[str, Mapping[str, str]] = {
    "Your data": {
        "init": "init --path photos/",
        "refresh": "refresh",
        "weights": "weights list",
    },
    "Answers": {
        "predict": "predict mails.csv --out answers.csv",
        "serve": "serve --port 8000",
        "watch": "watch log/ --labels truth.csv",
        "export": "export digits@champion --format saved_model",
    },
    "Training": {
        "repro": "repro --parallel",
    },
    "Every night": {
        "retrain": "retrain --dry-run",
        "schedule": "schedule install --kind cron --at 02:30",
        "history": "history",
    },
    "How it is, and how it came about": {
        "report": "report",
        "doctor": "doctor",
        "ui": "ui",
        "compare": "compare models/best digits@champion",
        "lineage": "lineage digits@champion",
        "reproduce": "reproduce digits/1 --quick",
        "verify": "verify",
    },
    "Back, and room": {
        "rollback": 'rollback --reason "drifts on Mondays"',
        "clean": "clean --keep 10 --dry-run",
    },
}
"""Every command with an example, in the order of `millrace --help`."""
COMMANDS = tuple(name for group in GROUPS.values() for name in group)
MACHINES = ("doctor", "repro")
"""Commands of the room `pipeline/commands/machines`."""
USAGE_EXIT_CODE = 64
TAKES_PATHS = ("absolute_path", "named_model", "Path")
"""What reads an argument that is a path, or may be one."""
WRONG_WORD = re.compile(
    r"COMMAND: invalid choice: '(?P<choice>[^']+)'|unrecognized arguments: (?P<option>--[^\s=]+)"
)


class _Parser(argparse.ArgumentParser):
    """argparse with this project's exit code for usage, and without guessing abbreviations."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        found = WRONG_WORD.search(message)
        known = COMMANDS if found and found["choice"] else self._option_string_actions
        near = get_close_matches(found["choice"] or found["option"], known, 1) if found else []
        meant = f" Did you mean {near[0]}?" if near else ""
        told = f"{self.prog}: {message}.{meant} See `{self.prog} --help`."
        if sys.stderr.isatty():
            told = fill(
                told, shutil.get_terminal_size().columns, break_long_words=False, break_on_hyphens=False
            )
        self.exit(USAGE_EXIT_CODE, f"{told}\n")


class _Overview(_Parser):
    """The commands in groups, each with an example."""

    def format_help(self) -> str:
        width = shutil.get_terminal_size().columns
        lines = [self.format_usage(), *wrap(str(self.description), width), ""]
        for group, commands in GROUPS.items():
            lines.append(f"{group}:")
            for name, example in commands.items():
                told = wrap(
                    _module(name).HELP, width, initial_indent=f"  {name:<10} ", subsequent_indent=" " * 13
                )
                lines += [*told, f"  {'':<10}   millrace {example}"]
            lines.append("")
        return "\n".join([*lines, "`millrace COMMAND --help` tells the options.", ""])


class _Version(argparse.Action):
    """Prints the version; where only the code was copied, that it is not installed."""

    def __call__(self, parser: argparse.ArgumentParser, *_given: Any) -> None:
        try:
            found = version("millrace")
        except PackageNotFoundError:
            found = "(not installed: the code alone)"
        say(f"millrace {found}")
        parser.exit()


class _Completion(argparse.Action):
    """Prints what a shell completes commands and options by."""

    def __call__(
        self, parser: argparse.ArgumentParser, _space: argparse.Namespace, shell: Any, *_more: Any
    ) -> None:
        import shtab  # for this alone

        whole, of_commands = parsers()
        for command in of_commands.values():
            for action in command._actions:  # noqa: SLF001  # argparse lists them nowhere else
                if getattr(action.type, "__name__", "") in TAKES_PATHS:
                    action.complete = shtab.FILE  # type: ignore[attr-defined]
        say(shtab.complete(whole, shell))
        parser.exit()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a `millrace` command.

    Args:
        arguments: As typed after `millrace`; None takes those of the process.

    Raises:
        SystemExit: With an exit code of `docs/guides/exit-codes.md` when anything goes wrong.
    """
    given = sys.argv[1:] if arguments is None else arguments
    parser, of_commands = parsers()
    options, left = parser.parse_known_args(given or ["--help"])
    if left:
        of_commands[options.command].error(f"unrecognized arguments: {' '.join(left)}")
    command = _module(options.command)
    if options.debug:
        os.environ["MILLRACE_DEBUG"] = "1"
    with exit_codes(options.command, recorded=getattr(command, "RECORDED", True)):
        needed = getattr(command, "needs_project", None)
        try:
            root = paths.project_root()
        except FileNotFoundError:
            if needed is None or needed(options):
                raise
            command.run(options)
            return
        given_path = getattr(options, "path", None)
        if given_path is not None:
            options.path = stored_path(Path(given_path), root)
        os.chdir(root)
        command.run(options)


def parsers() -> tuple[_Parser, dict[str, _Parser]]:
    """Return what reads the command line, and what reads that of each command."""
    text = "`dvc repro`, or `make run`, trains, judges and registers. These commands do everything beside it."
    parser = _Overview(prog="millrace", description=text, allow_abbrev=False)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version of Millrace and exit")
    text = 'print completions for a shell: eval "$(millrace --completion bash)"'
    parser.add_argument("--completion", action=_Completion, choices=("bash", "zsh", "tcsh"), help=text)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)
    examples = {name: example for group in GROUPS.values() for name, example in group.items()}
    made = {
        name: commands.add_parser(
            name,
            help=_module(name).HELP,
            description=f"{_module(name).HELP[0].upper()}{_module(name).HELP[1:]}.",
            epilog=f"For example: millrace {examples[name]}",
            allow_abbrev=False,
        )
        for name in COMMANDS
    }
    for name, command in made.items():
        _module(name).add_arguments(command)
    return parser, made


def _module(name: str) -> Any:
    room = "machines." if name in MACHINES else ""
    return import_module(f"pipeline.commands.{room}{name}")


if __name__ == "__main__":
    main()
