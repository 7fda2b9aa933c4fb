"""`millrace clean`: remove what neither a kept version nor a former champion needs."""

import argparse
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pipeline.params.load import load_params
from pipeline.runtime import paths
from pipeline.runtime.errors import WronglyCalled
from pipeline.runtime.processes import acquire_lock, terminal

if TYPE_CHECKING:
    from pipeline.runtime.leftovers import Named
    from pipeline.tracking.registry import Version
    from pipeline.tracking.removal import Excess
    from pipeline.tracking.store import Store

HELP = (
    "remove old runs, versions, data, worktrees and logs; never what was champion or can still be asked for"
)
RECORDED = False
ALWAYS = ("retrain", "source")
"""Locks beside those of the stages that ever ran here."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    text = "how many of the newest versions and recorded states stay, beside every former champion"
    parser.add_argument("--keep", type=int, required=True, metavar="N", help=text)
    parser.add_argument("--dry-run", action="store_true", help="only say what would go")


class Part(NamedTuple):
    """One kind of things that go.

    Attributes:
        what: In words.
        num_bytes: Their size on this disk, as far as it is known before.
        actions: Remove one each, and return how many bytes that freed.
    """

    what: str
    num_bytes: int
    actions: list[Callable[[], int]]


def run(options: argparse.Namespace) -> None:
    """Run the command.

    Raises:
        WronglyCalled: --keep is below 1.
        Busy: Something is at work in the project.
    """
    if options.keep < 1:
        raise WronglyCalled(
            f"millrace clean: the newest version stays. Expected --keep of at least 1. Received: {options.keep}."
        )
    settings = load_params().register
    from pipeline.runtime.repository import dvc_at_rest
    from pipeline.tracking.store import open_existing_store, open_store, service_errors, store_lock

    with ExitStack() as stack:
        for name in _locks():
            stack.enter_context(acquire_lock(name, wait_seconds=0))
        if Path(".dvc").is_dir():
            stack.enter_context(dvc_at_rest())
        open_existing_store(Path.cwd())  # where there is none, none is made
        store = open_store(Path.cwd(), settings.experiment)
        stack.enter_context(service_errors(store.uri))
        stack.enter_context(store_lock(store.uri, "record"))
        clean(store, settings.model_name, keep=options.keep, dry_run=options.dry_run)


def clean(store: "Store", name: str, *, keep: int, dry_run: bool) -> None:
    """Find what may go, say it, and remove it unless only that was asked for.

    Args:
        store: An opened store; the caller holds its lock, and those of the project.
        name: Of the registered model.
        keep: How many of the newest versions and states stay.
        dry_run: Remove nothing.

    Raises:
        StorageFailed: What a kept version needs cannot be told; nothing was removed.
    """
    from pipeline.runtime import leftovers
    from pipeline.runtime.files import file_digest
    from pipeline.tracking import removal
    from pipeline.versions.clean import named_by_versions
    from pipeline.versions.reproduce import REPRODUCE_DIR

    console = terminal()
    best = [tree / paths.BEST_DIR / "model.keras" for tree in (Path(), paths.TREE)]
    present = {file_digest(path, "sha256") for path in best if path.is_file()}
    excess = removal.find_excess(store, name, keep, present, leftovers.live_ids())
    named = leftovers.named_by_trees(REPRODUCE_DIR) | named_by_versions(store, name, excess.kept)
    stay = {version.model_sha256 for version in excess.kept}
    parts = [*_record_parts(store, name, excess), *_disk_parts(named, stay)]
    for part in parts:
        size = f"{part.num_bytes / 1e6:,.1f} MB" if part.num_bytes else ""
        console.print(f"{len(part.actions):7,}  {part.what}  {size}".rstrip(), highlight=False)
    kept = ", ".join(str(version.number) for version in excess.kept[-20:])
    console.print(
        f"Stay: {len(excess.kept):,} versions of {name}, the newest of them {kept or 'none'}.",
        highlight=False,
    )
    if dry_run:
        console.print("Nothing was removed (--dry-run).")
        return
    if excess.versions:
        from pipeline.gate.uses import carry_uses

        carry_uses(store, name, excess.versions, excess.kept)
    # Versions first: once they are gone nothing asks for what they were made from.
    freed = sum(action() for part in parts for action in part.actions)
    told = removal.compact(store) if excess.versions or excess.runs or excess.models else ""
    console.print(f"Freed {freed / 1e6:,.1f} MB on this disk.", highlight=False)
    if store.uri.startswith("http"):
        console.print("The server keeps rows and files of what was deleted until `mlflow gc` runs there.")
    if told:
        console.print(told, highlight=False)
    for path, grows in leftovers.growing():
        console.print(f"Stays and grows: {path}, {grows}.", highlight=False)


def _record_parts(store: "Store", name: str, excess: "Excess") -> list[Part]:
    from pipeline.runtime.files import folder_bytes
    from pipeline.tracking.removal import database_of, local_folder, remove_model, remove_run, remove_version

    database = database_of(store)

    def size(uri: str) -> int:
        folder = local_folder(store, uri)
        return folder_bytes(folder) if folder else 0

    def no_bytes(version: "Version") -> int:
        remove_version(store, name, version)
        return 0

    members = [run for family in excess.runs for run in family]
    places = [store.client.get_logged_model(model).artifact_location for model in excess.models]
    return [
        Part("versions that never were champion", 0, [partial(no_bytes, item) for item in excess.versions]),
        Part(
            "models of no version",
            sum(map(size, places)),
            [partial(remove_model, store, database, item) for item in excess.models],
        ),
        Part(
            "runs of earlier states, with their trials",
            sum(size(run.info.artifact_uri) for run in members),
            [partial(remove_run, store, database, run) for run in members],
        ),
    ]


def _disk_parts(named: "Named", stay: Collection[str]) -> list[Part]:
    from pipeline.fetching.snapshot import INCOMING_DIR
    from pipeline.fetching.source import stored_tar
    from pipeline.runtime import leftovers
    from pipeline.runtime.files import folder_bytes
    from pipeline.runtime.repository import DVC_CONFIG, dvc_cache
    from pipeline.runtime.strict_yaml import read_yaml
    from pipeline.versions.fetched import held_but_for
    from pipeline.versions.reproduce import REPRODUCE_DIR

    def part(
        what: str, found: Sequence[Path], remove: Callable[[Path], int] = leftovers.removed_bytes
    ) -> Part:
        return Part(what, sum(map(folder_bytes, found)), [partial(remove, path) for path in found])

    trees = [path for path in (paths.PARAMS_YAML, paths.TREE / paths.PARAMS_YAML) if path.is_file()]
    candidates = {name for path in trees for name in read_yaml(path).get("candidates", {})}
    cache = dvc_cache() if DVC_CONFIG.is_file() else None
    # Of a cache that several projects share nobody here knows what the others need.
    own = cache is not None and cache.resolve().is_relative_to(Path.cwd().resolve())
    objects = leftovers.unnamed_objects(cache, named.md5) if cache and own else []
    logs = leftovers.long_logs()
    cut = sum(path.stat().st_size - leftovers.KEPT_LOG_BYTES for path in logs)
    left = [INCOMING_DIR] if INCOMING_DIR.exists() else []
    what = (
        "objects of DVC's cache"
        if own or not cache
        else f"objects of {cache}, which is not this project's alone"
    )
    return [
        part(what, objects),
        part(
            "archives of the source",
            [*leftovers.unnamed_sources(stored_tar("").parent, named.sources), *left],
        ),
        part("checkpoints that nothing goes on from", leftovers.stale_checkpoints(candidates)),
        part("fetched copies of models", held_but_for(stay)),
        part("worktrees of rebuilds", sorted(REPRODUCE_DIR.glob("*")), leftovers.remove_worktree),
        part("live logs of former candidates", leftovers.stale_logs(candidates)),
        Part("logs that are cut to their end", cut, [partial(leftovers.cut_log, path) for path in logs]),
    ]


def _locks() -> list[str]:
    """Return the names of all locks of this project: whoever holds one is at work."""
    found = (paths.STATE_DIR / "locks").glob("*.lock")
    return sorted({*ALWAYS, *(path.name.removesuffix(".lock") for path in found)})
