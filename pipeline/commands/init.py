"""`millrace init`: say what the data is, and get parameters that fit without losing what stands there.

Without `--kind` it looks at the files and proposes, and changes nothing unless `--yes` says so.
"""

import argparse
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any, Literal

from pipeline.checks.secrets import source_secret
from pipeline.fetching.source import (
    KINDS,
    Kind,
    Location,
    Source,
    add_size_limit,
    location_problems,
    max_bytes,
    write_source,
)
from pipeline.runtime import paths
from pipeline.runtime.errors import DataRefused, InputMissing, NotPermitted, ParamsError, WronglyCalled
from pipeline.runtime.files import write_bytes
from pipeline.runtime.processes import acquire_lock, terminal
from pipeline.runtime.repository import file_at
from pipeline.runtime.strict_yaml import convert

if TYPE_CHECKING:
    from rich.console import Console

    from pipeline.checks.fitting import Fitted
    from pipeline.fetching.look import Trial

EXAMPLES_DIR = Path("examples")
WRITTEN_PARAMS = paths.STATE_DIR / "params-written.yaml"
"""The last params.yaml that came from here: who has not touched it loses nothing when it is replaced."""
MOST_LEFT_OUT = 10
MOST_LINES = 8
VALUES = 13
"""Column at which what is said of a proposal begins."""
WHERE_TYPED = " Type commands in the folder of these files, and that folder before a name behind --path."
HELP = "say what the data is; writes data/source.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "--kind",
        choices=KINDS,
        metavar="KIND",
        help="how the files are laid out; without it the files are looked at, and kinds proposed: "
        + ", ".join(KINDS),
    )
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
    parser.add_argument(
        "--options",
        choices=KINDS,
        metavar="KIND",
        dest="meanings",
        help="print what --set may say of a kind, and end",
    )
    parser.add_argument(
        "--yes", action="store_true", help="without --kind: do what is proposed, if one proposal is sure"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="read everything and show it, and change nothing"
    )
    parser.add_argument("--example", help="take examples/NAME.yaml as params.yaml", metavar="NAME")
    parser.add_argument(
        "--force", action="store_true", help="replace a changed params.yaml; it is kept as params.yaml.bak"
    )
    add_size_limit(parser)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from pipeline.sources.kinds import stated_options

    console = terminal()
    if options.meanings is not None:
        show_meanings(options.meanings, console)
        return
    if options.kind is None and options.path is None and options.url is None:
        raise WronglyCalled(
            "millrace init: nothing says what the data is. Expected --path or --url, which are looked at, or --kind. "
            "Received: none of them. See `millrace init --help`."
        )
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
    kind, stated = options.kind, options.set or []
    if kind is None and location != "bundled":
        chosen = propose(location, stated, yes=options.yes, max_bytes=max_bytes(options), console=console)
        if chosen is None:
            return
        kind, stated = chosen.proposal.kind, _stated(chosen)
    init(
        kind,
        location,
        options=stated_options(kind, stated),
        example=options.example,
        force=options.force,
        max_bytes=max_bytes(options),
        console=console,
        dry_run=options.dry_run,
    )


def show_meanings(kind: str, console: "Console") -> None:
    """Print every option of a kind with what it takes, its default and its meaning."""
    from pipeline.sources.kinds import source_of
    from pipeline.sources.meanings import meanings

    console.print(f"{kind}: {source_of(kind).LAYOUT}", markup=False, highlight=False)
    for option in meanings(kind):
        default = f"; without it: {option.default}" if option.default else ""
        console.print(f"\n  --set {option.name}=   ({option.values}{default})", markup=False, highlight=False)
        console.print(f"      {option.text}", markup=False, highlight=False)


def propose(
    location: Location, stated: Sequence[str], *, yes: bool, max_bytes: int, console: "Console"
) -> "Trial | None":
    """Look at the files, show how they could be read, and return the way that `--yes` takes.

    Args:
        location: Where the files are.
        stated: What `--set` says: kinds that have no such option do not fit.
        yes: Whether the one sure proposal is what the user wants.
        max_bytes: Limit of a download and of an unpacked archive.
        console: Where the proposals are shown.

    Returns:
        None without `yes`.

    Raises:
        DataRefused: No kind can read the files.
        WronglyCalled: `yes`, and no proposal or several are sure; or options that no kind has.
    """
    from pipeline.fetching.look import look_at
    from pipeline.sources.kinds import any_options

    _check_location("", location)
    options = any_options([kind for kind in KINDS if kind != "digits"], stated)
    trials, there = look_at(location, list(KINDS), stated=options, max_bytes=max_bytes, console=console)
    fitting = [trial for trial in trials if not trial.refused]
    sure = [trial for trial in fitting if trial.proposal.sure]
    taken = yes and len(sure) == 1
    for number, trial in enumerate(sure if taken else fitting, start=1):
        show_trial(number, trial, _command(location, trial), console)
    if taken:
        return sure[0]
    for trial in trials:
        if trial.refused and (trial.proposal.likely or not fitting):
            tried = "".join(f" --set {shlex.quote(item)}" for item in _stated(trial))
            console.print(
                f"Not as {trial.proposal.kind}{tried}: {_beginning(trial.refused)}",
                markup=False,
                highlight=False,
            )
    if not fitting:
        kinds = ", ".join(kind for kind in KINDS if kind != "digits")
        received = "; ".join(line.rstrip(".") for line in there)
        where = WHERE_TYPED if "`" in received else ""
        raise DataRefused(
            f"No kind fits without being told more. Expected one of {kinds} (docs/guides/own-data.md). Received: "
            f"{received}.{where} Say more by --set, or see what a kind can be told: `millrace init --options KIND`."
        )
    if not yes:
        more = ", or add --yes to this one to take what is sure" if len(sure) == 1 else ""
        console.print(f"Nothing was written. Copy the command that is right{more}.", highlight=False)
        return None
    raise WronglyCalled(
        f"millrace init: --yes takes a proposal that is sure. Expected one. Received: {len(sure)} of "
        f"{len(fitting)} proposals are. Copy the command that is right."
    )


def show_trial(number: int, trial: "Trial", command: str, console: "Console") -> None:
    """Show one way to read the files: why, how, the first samples, what is left out, and the command."""

    def say(text: str) -> None:
        _say(console, text, VALUES)

    proposal = trial.proposal
    say(f"{number}. {proposal.kind}{' (sure)' if proposal.sure else ''}: {proposal.reason}")
    read = f"{trial.files:,} {'file' if trial.files == 1 else 'files'}"
    read += ", of which only a part was looked at" if trial.partly else ""
    say(f"   reads     {read}")
    for line in trial.described[:3]:
        say(f"             {line}")
    for sample in trial.samples:
        say(f"   as        {sample}")
    for pattern, count in list((trial.left_out or {}).items())[:MOST_LEFT_OUT]:
        say(f"   left out  {count:,} x {pattern}")
    for line in proposal.open:
        say(f"   open      {line}")
    console.print(f"   command   {command}\n", markup=False, highlight=False, soft_wrap=True)


def _say(console: "Console", text: str, indent: int) -> None:
    """Print a line; on a terminal words stay whole, and what does not fit stands below."""
    if console.is_terminal:
        text = fill(
            text,
            console.width,
            subsequent_indent=" " * indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _beginning(message: str) -> str:
    """Return the first lines of a message; the reader itself says all of it."""
    lines = message.splitlines()
    return "\n".join(lines[:MOST_LINES] + (["  ..."] if len(lines) > MOST_LINES else []))


def _stated(trial: "Trial") -> list[str]:
    return [f"{name}={value}" for name, value in trial.proposal.options.items()]


def _command(location: Location, trial: "Trial") -> str:
    """Return what to type for a proposal, so that a shell takes it as it is."""
    place = ["--path", location.path or ""]
    if location.url is not None:
        place = [
            "--url",
            location.url,
            *(["--moving"] if location.moving else ["--sha256", location.sha256 or ""]),
        ]
    sets = [part for item in _stated(trial) for part in ("--set", item)]
    return shlex.join(["millrace", "init", "--kind", trial.proposal.kind, *place, *sets])


def init(
    kind: Kind,
    location: Literal["bundled"] | Location,
    *,
    options: dict[str, Any] | None = None,
    example: str | None,
    force: bool,
    max_bytes: int,
    console: "Console",
    dry_run: bool = False,
) -> None:
    """Read the data completely, write data/source.json, and a params.yaml that fits.

    Args:
        kind: Name of a file under pipeline/sources.
        location: As it will stand in data/source.json.
        options: How the files are read, as they will stand there.
        example: Name of a file in examples/ that becomes params.yaml as it is.
        force: Replace a params.yaml that holds work of its own; it is kept as params.yaml.bak.
        max_bytes: Limit of a download and of an unpacked archive.
        console: Where the result is shown.
        dry_run: Show everything, and change nothing.

    Raises:
        UserError: Nothing was changed then.
    """
    from pipeline.fetching.snapshot import show, take_snapshot

    _check_location(kind, location)
    params = example_params(example, force) if example else None
    with acquire_lock("source"):
        snapshot = take_snapshot(
            kind, location, max_bytes=max_bytes, options=options, console=console, keep=not dry_run
        )
        if not dry_run:
            write_source(snapshot.source)
    show(snapshot, console)
    if params is not None:
        if not dry_run:
            replace_params(params)
        console.print(f"params.yaml {'would be' if dry_run else 'is now'} {EXAMPLES_DIR}/{example}.yaml.")
    else:
        fit_params(snapshot.source, force=force, dry_run=dry_run, console=console, groups=snapshot.groups)
    if dry_run:
        console.print("Nothing was written (--dry-run).")
    else:
        console.print("Next: look at params.yaml, then run `make run` (or `dvc repro`).")


def fit_params(
    source: Source,
    *,
    force: bool,
    dry_run: bool,
    console: "Console",
    groups: Mapping[str, Mapping[str, int]] | None = None,
) -> None:
    """Write a params.yaml that fits the source, unless the present one does or holds work that would be lost.

    Args:
        source: What the data is.
        force: Replace it whatever it holds; it is kept as params.yaml.bak.
        dry_run: Say what would be set, and change nothing.
        console: Where it is said.
        groups: Samples of each group by class, where a split can be tried.
    """
    from pipeline.checks.contradictions import contradictions
    from pipeline.checks.fitting import base_example
    from pipeline.params.load import params_of

    def say(text: str) -> None:
        _say(console, text, 4)

    if not force and _fits_already(source):
        say("params.yaml fits this data already, and stays as it is.")
        return
    if not force and _holds_own_work():
        say(
            "params.yaml holds changes that are not committed, and stays as it is; `dvc repro check` says what does not"
        )
        say("fit. Commit it, or add --force, which writes one that fits and keeps yours as params.yaml.bak.")
        return
    example = base_example(source)
    fit = _fitted(example, source, groups or {})
    if fit is None:
        say(
            f"{EXAMPLES_DIR}/{example}.yaml is not there or of no use, so params.yaml stays as it is: it needs settings"
        )
        say(
            "for this data, and register.model_name and register.experiment of its own (docs/guides/own-data.md)."
        )
        return
    problems = list(contradictions(params_of(fit.text), source))
    if not dry_run:
        replace_params(fit.text.encode())
        write_bytes(WRITTEN_PARAMS, fit.text.encode())
    begins = "would begin" if dry_run else "begins"
    say(f"params.yaml {begins} from {EXAMPLES_DIR}/{example}.yaml, and sets for this data:")
    for change in fit.changes:
        say(f"  {change}")
    for problem in problems:
        say(f"To be decided by you: {problem}")


def _fitted(example: str, source: Source, groups: Mapping[str, Mapping[str, int]]) -> "Fitted | None":
    from pipeline.checks.fitting import fitted
    from pipeline.params.load import params_of

    path = EXAMPLES_DIR / f"{example}.yaml"
    if not path.is_file():
        return None
    text = path.read_text(encoding="utf-8")
    try:
        params_of(text)
    except ParamsError:
        return None
    return fitted(example, text, source, Path.cwd(), groups)


def _fits_already(source: Source) -> bool:
    """Return whether params.yaml can be used as it is: parameters that somebody has tuned outlive a second init.

    What this command wrote and nobody touched is written anew: the data may be another, with a model of its own.
    """
    from pipeline.checks.contradictions import contradictions
    from pipeline.params.load import load_params

    written = WRITTEN_PARAMS.is_file() and paths.PARAMS_YAML.is_file()
    if written and WRITTEN_PARAMS.read_bytes() == paths.PARAMS_YAML.read_bytes():
        return False
    try:
        return not contradictions(load_params(), source)
    except (ParamsError, FileNotFoundError):
        return False


def _holds_own_work() -> bool:
    """Return whether params.yaml holds what neither git, nor an example, nor this command has."""
    if not paths.PARAMS_YAML.is_file():
        return False
    present = paths.PARAMS_YAML.read_bytes()
    known = [file.read_bytes() for file in EXAMPLES_DIR.rglob("*.yaml")]
    if WRITTEN_PARAMS.is_file():
        known.append(WRITTEN_PARAMS.read_bytes())
    return present not in known and present != file_at("HEAD", paths.PARAMS_YAML.as_posix())


def _check_location(kind: str, location: Literal["bundled"] | Location) -> None:
    problems = location_problems(kind, location)
    if isinstance(location, Location) and location.url and (secret := source_secret(location.url)):
        problems = [secret]
    if problems:
        raise WronglyCalled("\n".join(f"millrace init: {problem}" for problem in problems))


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
    if _holds_own_work():
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
