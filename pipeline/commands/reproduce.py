"""`millrace reproduce`: build a registered model again, and say whether it is the same."""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.fetching.source import add_size_limit, max_bytes
from pipeline.runtime.errors import WronglyCalled, say
from pipeline.runtime.processes import acquire_lock, terminal

if TYPE_CHECKING:
    from rich.console import Console

    from pipeline.versions.comparison import Origin

HELP = "build a registered model again and compare it, bit by bit"
RECORDED = False
TOLERANCE = 1e-3
"""As a share of the spread of the answers: other processors round otherwise, and training carries that on."""
DIFFERS_CODE, DATA_DIFFERS_CODE = 3, 65


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    text = "MODEL, MODEL/VERSION or MODEL@ALIAS (default: this project's champion)"
    parser.add_argument("model", nargs="?", default="", metavar="MODEL", help=text)
    parser.add_argument("--quick", action="store_true", help="compare hashes only; nothing is trained")
    parser.add_argument("--keep", action="store_true", help="leave the worktree under .millrace/reproduce")
    parser.add_argument("--json", action="store_true", help="print the answer as JSON")
    text = f"difference of test predictions that counts as equal, as a share of their spread (default: {TOLERANCE})"
    parser.add_argument("--tolerance", type=float, default=TOLERANCE, help=text)
    add_size_limit(parser)


def run(options: argparse.Namespace) -> None:
    """Run the command.

    Raises:
        WronglyCalled: With the tolerance every model would be the same one.
        SystemExit: With 3 if the model differs, 65 if it does because of its data.
    """
    if not 0 <= options.tolerance < 1:
        raise WronglyCalled(
            "millrace reproduce: --tolerance is a share of the spread of the answers. Expected 0 to below 1. "
            f"Received: {options.tolerance}."
        )
    from pipeline.params.load import load_params
    from pipeline.provenance.origin import other_processor
    from pipeline.tracking.store import open_existing_store, service_errors
    from pipeline.versions.comparison import read_origin
    from pipeline.versions.lineage import named_version
    from pipeline.versions.seal import complete_origin

    # Progress goes to standard error, so that `--json` can be piped.
    console = terminal(errors=True)
    store = open_existing_store(Path.cwd())
    with tempfile.TemporaryDirectory(prefix="millrace-") as temporary:
        with service_errors(store.uri):
            name, version = named_version(store, options.model, load_params().register.model_name)
            version = complete_origin(store, name, version)
            origin = read_origin(store, name, version, Path(temporary))
        console.print(f"{name} version {version.number}, made at commit {origin.commit[:12]}")
        for told in other_processor(version.tags.get("machine.facts", "")):
            console.print(told)
        if options.quick:
            _show_quick(origin, as_json=options.json)
            return
        answer = reproduce(
            origin,
            tolerance=options.tolerance,
            keep=options.keep,
            max_bytes=max_bytes(options),
            console=console,
        )
    say(json.dumps(answer, sort_keys=True, indent=2) if options.json else comparison_words(answer))
    code = exit_code(answer)
    if code:
        raise SystemExit(code)


def reproduce(
    origin: "Origin", *, tolerance: float, keep: bool, max_bytes: int, console: "Console"
) -> dict[str, Any]:
    """Build a version again and compare.

    Args:
        origin: The version.
        tolerance: See `comparison.compare`.
        keep: Leave the worktree.
        max_bytes: Limit of a download.
        console: For progress.

    Returns:
        What `compare` returns, with model, version, commit, where the data came from, and seconds.
    """
    from pipeline.versions.comparison import compare
    from pipeline.versions.reproduce import environment, restore_data, run_pipeline, worktree
    from pipeline.weights.pinned import restore_weights

    start = time.monotonic()
    with acquire_lock(f"reproduce-{origin.version}"), worktree(origin, keep=keep) as tree:
        data_from = restore_data(origin, tree, max_bytes, console)
        restore_weights(tree)
        console.print(f"Data: from {data_from}. Worktree: {tree}")
        run_pipeline(tree, environment(tree, console))
        console.print("Comparing with what was registered")
        answer = compare(origin, tree, tolerance)
    return answer | {
        "commit": origin.commit,
        "data_from": data_from,
        "model": origin.model,
        "registered_sha256": origin.model_sha256,
        "seconds": round(time.monotonic() - start, 1),
        "version": origin.version,
        "worktree": str(tree) if keep else None,
    }


def exit_code(answer: dict[str, Any]) -> int:
    """Return 0 for the same model, 3 for another, 65 for another because of its data."""
    stage = answer["stage"]
    if answer["answer"] != "differs":
        return 0
    return (
        DATA_DIFFERS_CODE
        if stage and stage["stage"] in ("fetch", "ingest") and stage["data"]
        else DIFFERS_CODE
    )


def comparison_words(answer: dict[str, Any]) -> str:
    """Return the answer as a person reads it."""
    from pipeline.versions.comparison import Difference

    lines = [f"{answer['model']} version {answer['version']}: {answer['answer']}"]
    if answer["stage"]:
        first = Difference(**answer["stage"])
        lines.append(
            f"From stage {first.stage} on: {', '.join(first.outputs)}. Inputs that differ: {first.cause()}."
        )
    elif answer["compared"]:
        lines.append(f"All {answer['compared']} stages gave the recorded outputs.")
    else:
        lines.append("No dvc.lock of that version is left, so only the model was compared.")
    same = answer["model_sha256"] == answer["registered_sha256"]
    lines.append(f"Model: sha256 {answer['model_sha256']}, {'as' if same else 'not as'} registered.")
    if answer["differences"]:
        lines += _number_words(answer["differences"], answer["unexplained"])
    lines.append(
        f"{answer['seconds']:.0f} s" + (f"; worktree {answer['worktree']}" if answer["worktree"] else "")
    )
    return "\n".join(lines)


def _number_words(found: dict[str, Any], unexplained: str | None) -> list[str]:
    """Return by how much another model differs, and what else keeps it from being the same within tolerance."""
    of_weights = (
        "are of another shape" if found["weights"] is None else f"differ by up to {found['weights']:.3g}"
    )
    if found["predictions"] is None:
        told = "Its test predictions cannot be compared with those of the registered model"
    else:
        told = (
            f"{found['rows']:,} test predictions differ by up to {found['predictions']:.3g}, "
            f"where they spread over {found['scale']:.3g}"
        )
    lines = [f"{told}; weights {of_weights}."]
    if found["metrics"]:
        values = (f"{name} {old} and {new}" for name, (old, new) in found["metrics"].items())
        lines.append(f"Test metrics that differ, registered and rebuilt: {', '.join(values)}.")
    if unexplained:
        lines.append(f"No tolerance holds here: {unexplained}.")
    return lines


def _show_quick(origin: "Origin", *, as_json: bool) -> None:
    """Print what the hashes say; what differs is the exit code, or else what is missing."""
    from pipeline.versions.reproduce import MISSING, OK, quick_check

    found = quick_check(origin)
    if as_json:
        content = {
            "commit": origin.commit,
            "findings": [item._asdict() for item in found],
            "model": origin.model,
        }
        print(json.dumps(content | {"version": origin.version}, sort_keys=True, indent=2))
    else:
        for item in found:
            word = {OK: "ok", MISSING: "missing"}.get(item.code, "differs")
            say(f"{word:7}  {item.what}: {item.told}")
    # What is known to differ says more than what could not be looked at.
    code = max(found, key=lambda item: (item.code not in (OK, MISSING), item.code)).code
    if code:
        raise SystemExit(code)
