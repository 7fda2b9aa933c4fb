"""`millrace init`: say what the data is, and take an example's parameters without losing what stands there."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pipeline.checks.secrets import source_secret
from pipeline.fetching.source import (
    KINDS,
    Kind,
    Location,
    add_size_limit,
    location_problems,
    max_bytes,
    write_source,
)
from pipeline.runtime import paths
from pipeline.runtime.errors import InputMissing, NotPermitted, ParamsError, WronglyCalled
from pipeline.runtime.files import write_bytes
from pipeline.runtime.processes import acquire_lock, terminal
from pipeline.runtime.repository import file_at
from pipeline.runtime.strict_yaml import convert

if TYPE_CHECKING:
    from rich.console import Console

EXAMPLES_DIR = Path("examples")
HELP = "say what the data is; writes data/source.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("--kind", required=True, choices=KINDS, help="how the files are laid out")
    place = parser.add_mutually_exclusive_group()
    place.add_argument("--path", help="folder, .zip/.tar(.gz) archive, or single file, on this machine")
    place.add_argument("--url", help="http(s) address of an archive or a single file")
    parser.add_argument("--sha256", help="digest of the file behind --url, from the publisher's page")
    parser.add_argument(
        "--moving",
        action="store_true",
        help="the file behind --url is replaced from time to time, so it has no digest of a publisher",
    )
    parser.add_argument(
        "--set",
        action="append",
        metavar="NAME=VALUE",
        help="how the files are read, such as --set label=class",
    )
    parser.add_argument("--example", help="take examples/NAME.yaml as params.yaml", metavar="NAME")
    parser.add_argument("--force", action="store_true", help="with --example: replace a changed params.yaml")
    add_size_limit(parser)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from pipeline.sources.kinds import stated_options

    location: Literal["bundled"] | Location = "bundled"
    if options.path is not None or options.url is not None or options.kind != "digits":
        sha256 = options.sha256.lower() if options.sha256 else None
        given = {"path": options.path, "url": options.url, "sha256": sha256, "moving": options.moving}
        try:
            location = convert(
                {name: value for name, value in given.items() if value}, Location, "millrace init"
            )
        except ParamsError as error:
            raise WronglyCalled(str(error)) from error
    init(
        options.kind,
        location,
        options=stated_options(options.kind, options.set or []),
        example=options.example,
        force=options.force,
        max_bytes=max_bytes(options),
        console=terminal(),
    )


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
    from pipeline.fetching.snapshot import show, take_snapshot

    problems = location_problems(kind, location)
    if isinstance(location, Location) and location.url and (secret := source_secret(location.url)):
        problems = [secret]
    if problems:
        raise WronglyCalled("\n".join(f"millrace init: {problem}" for problem in problems))
    params = example_params(example, force) if example else None
    with acquire_lock("source"):
        snapshot = take_snapshot(kind, location, max_bytes=max_bytes, options=options, console=console)
        write_source(snapshot.source)
    show(snapshot, console)
    if params is not None:
        replace_params(params)
        console.print(f"params.yaml is now {EXAMPLES_DIR}/{example}.yaml.")
    if kind != "digits" and params is None:
        console.print(
            "In params.yaml give register.model_name and register.experiment names of your own; texts and series"
        )
        console.print(
            "need settings of their own: `--example NAME` takes those of a worked example (docs/guides/examples.md)."
        )
    console.print("Next: look at params.yaml, then run `make run` (or `dvc repro`).")


def example_params(name: str, force: bool) -> bytes:
    """Return an example's parameters, after making sure that no work in params.yaml is lost.

    Args:
        name: Path of the file below examples/, without `.yaml`.
        force: Take them even if params.yaml holds work of its own.

    Raises:
        InputMissing: There is no such example.
        NotPermitted: params.yaml holds changes that neither git nor an example has.
    """
    path = EXAMPLES_DIR / f"{name}.yaml"
    known = {
        file.relative_to(EXAMPLES_DIR).with_suffix("").as_posix(): file.read_bytes()
        for file in sorted(EXAMPLES_DIR.rglob("*.yaml"))
    }
    if name not in known:
        raise InputMissing(
            f"There is no example {name}. Expected one of {', '.join(known)}. Received: --example {name}. "
            f"Look into {EXAMPLES_DIR}/."
        )
    if not paths.PARAMS_YAML.is_file() or force:
        return known[name]
    present = paths.PARAMS_YAML.read_bytes()
    if present not in known.values() and present != file_at("HEAD", paths.PARAMS_YAML.as_posix()):
        raise NotPermitted(
            f"params.yaml holds changes that are not committed, and {path} would replace them. "
            f"Expected a committed or untouched params.yaml. Received: --example {name}. "
            "Commit it, or add --force, which keeps it as params.yaml.bak."
        )
    return known[name]


def replace_params(content: bytes) -> None:
    """Write params.yaml; what was there before is kept as params.yaml.bak."""
    if paths.PARAMS_YAML.is_file() and paths.PARAMS_YAML.read_bytes() != content:
        write_bytes(Path("params.yaml.bak"), paths.PARAMS_YAML.read_bytes())
    write_bytes(paths.PARAMS_YAML, content)
