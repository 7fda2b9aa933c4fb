"""`millrace ...`: what a user types beside `dvc repro`.

`init` says what the data is, `refresh` reads it again, `report` shows how the last run ended.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn, get_args

import msgspec

from pipeline import paths, runtime
from pipeline.artifacts import file_digest, read_json
from pipeline.example_params import EXAMPLES_DIR, example_params, replace_params
from pipeline.gather import gather
from pipeline.gathered import show
from pipeline.source_file import (
    Kind,
    Location,
    Source,
    location_problems,
    read_source,
    stored_path,
    stored_tar,
    write_source,
)
from pipeline.source_kinds import stated_options
from pipeline.strict_yaml import ParamsError, convert

if TYPE_CHECKING:
    from rich.console import Console

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
    if options.debug:
        os.environ["MILLRACE_DEBUG"] = "1"
    with runtime.exit_codes(options.command, recorded=options.command != "report"):
        root = paths.project_root()
        given_path = getattr(options, "path", None)
        if given_path is not None:
            options.path = stored_path(Path(given_path), root)
        os.chdir(root)
        options.run(options)


def init(
    kind: Kind,
    location: Literal["bundled"] | Location,
    *,
    options: dict[str, Any] | None = None,
    example: str | None,
    force: bool,
    max_bytes: int,
    console: "Console",
) -> None:
    """Read the data completely, write data/source.json, and take over an example's parameters.

    Args:
        kind: Name of a file under pipeline/sources.
        location: As it will stand in data/source.json.
        options: How the files are read, as they will stand there.
        example: Name of a file in examples/ that becomes params.yaml.
        force: Replace a params.yaml that holds work of its own; it is kept as params.yaml.bak.
        max_bytes: Limit of a download and of an unpacked archive.
        console: Where the result is shown.

    Raises:
        UserError: Nothing was changed then.
    """
    problems = location_problems(kind, location)
    if problems:
        raise runtime.WronglyCalled("\n".join(f"millrace init: {problem}" for problem in problems))
    params = example_params(example, force) if example else None
    with runtime.acquire_lock("source"):
        gathered = gather(kind, location, max_bytes=max_bytes, options=options, console=console)
        write_source(gathered.source)
    show(gathered, console)
    if params is not None:
        replace_params(params)
        console.print(f"params.yaml is now {EXAMPLES_DIR}/{example}.yaml.")
    if kind != "digits" and params is None:
        console.print("In params.yaml give register.model_name and register.experiment names of your own.")
    console.print("Next: look at params.yaml, then run `make run` (or `dvc repro`).")


def refresh(source: Source, *, max_bytes: int, console: "Console") -> None:
    """Read the data of data/source.json again, and update the file if the data changed.

    Args:
        source: What data/source.json says now.
        max_bytes: Limit of a download and of an unpacked archive.
        console: Where the result is shown.

    Raises:
        UserError: Nothing was changed then.
    """
    pinned = isinstance(source.location, Location) and source.location.url is not None
    stored = stored_tar(source.sha256)
    if pinned and stored.is_file() and file_digest(stored, "sha256") == source.sha256:
        console.print(
            "The data behind a URL is pinned by its sha256, and this machine has it. Nothing to do."
        )
        return
    with runtime.acquire_lock("source"):
        gathered = gather(
            source.kind, source.location, max_bytes=max_bytes, options=source.options, console=console
        )
        unchanged = msgspec.structs.replace(gathered.source, seen=source.seen) == source
        if not unchanged:
            write_source(gathered.source)
    show(gathered, console)
    if unchanged:
        since = f" since {source.seen}" if source.seen else ""
        console.print(f"Nothing changed{since}; {paths.SOURCE_JSON} stays as it is.")
    else:
        console.print(f"The data changed: {source.count:,} samples before, {gathered.source.count:,} now.")
    console.print("Next: run `make run` (or `dvc repro`).")


def _run_init(options: argparse.Namespace) -> None:
    location: Literal["bundled"] | Location = "bundled"
    if options.path is not None or options.url is not None or options.kind != "digits":
        sha256 = options.sha256.lower() if options.sha256 else None
        given = {"path": options.path, "url": options.url, "sha256": sha256}
        try:
            location = convert(
                {name: value for name, value in given.items() if value}, Location, "millrace init"
            )
        except ParamsError as error:
            raise runtime.WronglyCalled(str(error)) from error
    init(
        options.kind,
        location,
        options=stated_options(options.kind, options.set or []),
        example=options.example,
        force=options.force,
        max_bytes=int(options.max_gib * 2**30),
        console=runtime.terminal(),
    )


def _run_refresh(options: argparse.Namespace) -> None:
    refresh(read_source(), max_bytes=int(options.max_gib * 2**30), console=runtime.terminal())


def _run_report(_options: argparse.Namespace) -> None:
    from pipeline.report import print_report

    print_report()
    status = paths.STATE_DIR / "status.json"
    last = read_json(status) if status.is_file() else {"exit_code": 0}
    if last["exit_code"]:
        print(
            f"Older than your last attempt, which stopped at {last['stage']} with exit code {last['exit_code']}:\n"
            f"{last['message']}"
        )


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="millrace", description=__doc__, allow_abbrev=False)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    command = commands.add_parser(
        "init", help="say what the data is; writes data/source.json", allow_abbrev=False
    )
    command.add_argument("--kind", required=True, choices=get_args(Kind), help="how the files are laid out")
    place = command.add_mutually_exclusive_group()
    place.add_argument("--path", help="folder, .zip/.tar(.gz) archive, or single file, on this machine")
    place.add_argument("--url", help="http(s) address of an archive or a single file")
    command.add_argument("--sha256", help="digest of the file behind --url, from the publisher's page")
    command.add_argument(
        "--set",
        action="append",
        metavar="NAME=VALUE",
        help="how the files are read, such as --set label=class",
    )
    command.add_argument("--example", help="take examples/NAME.yaml as params.yaml", metavar="NAME")
    command.add_argument("--force", action="store_true", help="with --example: replace a changed params.yaml")
    _add_limit(command)
    command.set_defaults(run=_run_init)

    command = commands.add_parser("refresh", help="read the data again; updates data/source.json")
    _add_limit(command)
    command.set_defaults(run=_run_refresh)

    command = commands.add_parser("report", help="show how the last run ended")
    command.set_defaults(run=_run_report)
    return parser


def _add_limit(command: argparse.ArgumentParser) -> None:
    text = "largest download, and largest unpacked archive, in GiB (default: 20)"
    command.add_argument("--max-gib", type=float, default=20.0, help=text)


if __name__ == "__main__":
    main()
