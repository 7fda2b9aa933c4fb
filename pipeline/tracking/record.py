"""The record of a pipeline state in MLflow: found, or filled in from files; doing it again changes nothing.

One parent run per state, a child per candidate, a grandchild per trial. DVC restores stages from its run
cache without running code, servers are down for a night, processes are killed; what is missing afterwards
is filled in here. A run of a training that was followed live is taken over with its own time stamps.
"""

import random
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mlflow.data.dataset_source import DatasetSource
from mlflow.data.meta_dataset import MetaDataset
from mlflow.entities import Dataset, DatasetInput, InputTag, Run
from mlflow.exceptions import MlflowException

from pipeline.provenance.state import ARGMAX, CandidateState, PipelineState
from pipeline.runtime.progress import Epoch
from pipeline.tracking import runs
from pipeline.tracking.registry import Version, set_tags
from pipeline.tracking.runs import CANDIDATE, KIND, LIVE_ID, live_run
from pipeline.tracking.store import Store, is_outage

# --- The data sets of a run, named by the md5 that stands in dvc.lock.
#
# MLflow's own digests of arrays and tables look at a sample of rows: a changed row in the middle keeps the
# digest. DVC's md5 covers every byte and is known already.

CONTEXTS = {"train": "training", "val": "validation", "test": "testing"}
"""Name of a split to the context under which MLflow shows it."""


class DvcSource(DatasetSource):  # type: ignore[misc]  # MLflow has no types
    """Outputs of DVC stages as the source of a data set.

    Args:
        outputs: Path to md5, as in dvc.lock.
    """

    def __init__(self, outputs: dict[str, str]) -> None:
        self.outputs = outputs

    @staticmethod
    def _get_source_type() -> str:
        return "dvc"

    def load(self) -> Any:
        """Refuse: `dvc checkout` brings the files back."""
        raise NotImplementedError("Run `dvc checkout` at the recorded commit.")

    @staticmethod
    def _can_resolve(_raw_source: Any) -> bool:
        return False

    @classmethod
    def _resolve(cls, raw_source: Any) -> "DvcSource":
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """Return the outputs."""
        return dict(self.outputs)

    @classmethod
    def from_dict(cls, source_dict: dict[str, Any]) -> "DvcSource":
        """Return the source with these outputs."""
        return cls(dict(source_dict))


def data_set_inputs(kind: str, split_md5: str, outputs: dict[str, str]) -> list[DatasetInput]:
    """Return train, val and test as inputs of a run.

    Args:
        kind: Kind of the source, part of the name.
        split_md5: md5 of the split, which says who is in which set: the digest.
        outputs: Path to md5 of all files that hold the samples.
    """
    source = DvcSource(outputs)
    return [
        DatasetInput(
            Dataset(**MetaDataset(source, name=f"{kind}-{split}", digest=split_md5).to_dict()),
            [InputTag("mlflow.data.context", context)],
        )
        for split, context in CONTEXTS.items()
    ]


# --- The record of a pipeline state in MLflow.

FINGERPRINT = "millrace.fingerprint"
OUTPUT_MD5 = "dvc.out.md5"
TRIAL = "millrace.trial"
DESCRIPTION = "mlflow.note.content"
RUN_NAME = "mlflow.runName"
PICTURES = "pictures"
"""Folder of a pipeline's run; below it one for each stage that drew some."""
ATTEMPTS = 8
"""Of two machines that record the same state at once; each attempt continues where the last one ended."""
SHORTEST_PAUSE_SECONDS = 0.2


@dataclass(frozen=True)
class Recorded:
    """The runs of a pipeline state.

    Attributes:
        parent_run_id: The run of the whole state.
        candidate_run_ids: Candidate to the id of its run.
    """

    parent_run_id: str
    candidate_run_ids: dict[str, str]


def record_pipeline(store: Store, state: PipelineState) -> Recorded:
    """Make sure that the store shows this pipeline state, completely and once.

    The caller holds the lock of the store. Against other machines the oldest parent wins: whoever is done
    removes what it finds beside it, and whoever meets errors because its runs were removed starts again.

    Args:
        store: An opened store.
        state: What the files say.

    Raises:
        MlflowException: The store failed; the next call continues.
    """
    failures = 0
    while True:
        parent = _parent_run(store, state)
        recorded = None
        try:
            recorded = _fill_family(store, state, parent)
            _remove_doubles(store, parent.info.run_id)
        except MlflowException as error:
            # Another machine wrote the same row at the same moment, or removed what lost. Both are over now.
            failures += 1
            if is_outage(error) or failures == ATTEMPTS:
                raise
            time.sleep(random.uniform(0, SHORTEST_PAUSE_SECONDS * failures))
        if _remove_younger_parents(store, state) != parent.info.run_id:
            _delete_family(store, parent.info.run_id)
        elif recorded is not None:
            return recorded


def attach(store: Store, run_id: str, path: Path) -> None:
    """Put a file at the top of a run's artifacts; the same name again replaces it."""
    store.client.log_artifact(run_id, str(path))


def set_description(store: Store, run_id: str, text: str) -> None:
    """Set the description of a run, in Markdown; its page shows about four lines before a click."""
    if store.client.get_run(run_id).data.tags.get(DESCRIPTION) != text:
        store.client.set_tag(run_id, DESCRIPTION, text)


def set_name(store: Store, run_id: str, name: str) -> None:
    """Set what the runs table calls a run; it is found by its tags, never by its name."""
    if store.client.get_run(run_id).info.run_name != name:
        store.client.set_tag(run_id, RUN_NAME, name)


def evaluation_metrics(evaluation: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of `reports/evaluate/metrics.json`, named for sections of charts.

    `val.accuracy` becomes `val/accuracy`, `baselines.linear.test_accuracy` becomes `test/linear_accuracy`.
    """
    numbers = {}
    for name, value in _numbers(dict(runs.flattened(evaluation))).items():
        first, *_ = parts = name.split(".")
        section = first if first in CONTEXTS else "test"
        rest = [part.removeprefix("test_") for part in parts if part not in {*CONTEXTS, "baselines"}]
        numbers[f"{section}/{'_'.join(rest)}"] = value
    return numbers


def best_metrics(metrics: Mapping[str, Any], argmax: Collection[str] = ()) -> dict[str, float]:
    """Return validation metrics of a best epoch: `val_loss` becomes `val/best_loss`.

    Args:
        metrics: As the training left them.
        argmax: Those that count the most probable classes of a model that is used at a threshold, which no epoch knew:
            `accuracy` makes it `val/best_argmax_accuracy`.
    """
    numbers = {
        name.removeprefix("val_"): value
        for name, value in _numbers(metrics).items()
        if name.startswith("val_")
    }
    return {f"val/best_{ARGMAX if name in argmax else ''}{name}": value for name, value in numbers.items()}


def _parent_run(store: Store, state: PipelineState) -> Run:
    name = f"pipeline-{state.fingerprint[:8]}"
    return runs.find_or_create_run(
        store, {FINGERPRINT: state.fingerprint, KIND: "pipeline"}, name, state.tags
    )


def _remove_younger_parents(store: Store, state: PipelineState) -> str:
    """Delete all parents of a state but the oldest, and return the id of that one."""
    found = runs.find_runs(store, {FINGERPRINT: state.fingerprint, KIND: "pipeline"})
    for younger in found[1:]:
        _delete_family(store, younger.info.run_id)
    return found[0].info.run_id if found else ""


def _remove_doubles(store: Store, run_id: str) -> None:
    """Delete, of children that are the same, all but the oldest: each machine may have made its own."""
    seen: set[tuple[str | None, ...]] = set()
    for child in runs.find_runs(store, {runs.PARENT: run_id}):
        tags = child.data.tags
        what = tuple(tags.get(name) for name in (KIND, CANDIDATE, OUTPUT_MD5, TRIAL, LIVE_ID))
        if what in seen:
            _delete_family(store, child.info.run_id)
        seen.add(what)
        if tags.get(KIND) == "candidate":
            _remove_doubles(store, child.info.run_id)


def _delete_family(store: Store, run_id: str) -> None:
    """Delete a run and those below it. Another machine may do so at the same moment."""
    for child in runs.find_runs(store, {runs.PARENT: run_id}, deleted_too=True):
        _delete_family(store, child.info.run_id)
    runs.delete_run(store, run_id)


def _fill_family(store: Store, state: PipelineState, parent: Run) -> Recorded:
    children = {
        candidate.name: _candidate_run(store, state, parent, candidate) for candidate in state.candidates
    }
    if not runs.is_complete(parent):
        _fill_parent(store, state, parent)
    return Recorded(parent.info.run_id, {name: run.info.run_id for name, run in children.items()})


def _fill_parent(store: Store, state: PipelineState, parent: Run) -> None:
    settings = {name: value for name, value in state.params.items() if name != "candidates"}
    runs.send_params(store, parent, settings)
    runs.send_epochs(store, parent, [Epoch(0, evaluation_metrics(state.evaluation))])
    runs.send_tags(store, parent.info.run_id, state.tags)
    _send_data_sets(store, parent, state)
    for path in state.report_paths:
        folder = PICTURES if path.suffix == ".png" else "reports"
        # validate/report.html and evaluate/report.html share a name, so each keeps the folder of its stage.
        store.client.log_artifact(
            parent.info.run_id, str(path), f"{folder}/{path.relative_to('reports').parts[0]}"
        )
    runs.complete(store, parent)


def _candidate_run(store: Store, state: PipelineState, parent: Run, candidate: CandidateState) -> Run:
    identity = {
        runs.PARENT: parent.info.run_id,
        CANDIDATE: candidate.name,
        OUTPUT_MD5: candidate.output_md5,
        KIND: "candidate",
    }
    live = _live_run(store, candidate)
    run = runs.find_run(store, identity)
    if run is None and live is not None and candidate.baseline_won and runs.PARENT not in live.data.tags:
        runs.send_tags(store, live.info.run_id, identity)
        run = store.client.get_run(live.info.run_id)
    run = run or runs.find_or_create_run(store, identity, candidate.name, state.tags)
    if live is not None:
        _file_live_run(store, candidate, live, run)
    if not runs.is_complete(run):
        _fill_candidate(store, state, run, candidate)
    return run


def _live_run(store: Store, candidate: CandidateState) -> Run | None:
    """Return the run that showed the training of the baseline while it ran, made now if no server was there."""
    if candidate.live is None:
        return None
    run = live_run(store, candidate.name, candidate.live)
    if runs.is_complete(run):
        return run
    # The follower may have died, or met a dead server; what it sent before is recognised.
    runs.send_epochs(store, run, candidate.live.epochs)
    return run


def _file_live_run(store: Store, candidate: CandidateState, live: Run, run: Run) -> None:
    """Put a live run that is not the candidate's own run below it: its baseline, or the same made twice."""
    if live.info.run_id == run.info.run_id or runs.PARENT in live.data.tags:
        return
    tags = {runs.PARENT: run.info.run_id, RUN_NAME: f"{candidate.name}-baseline"}
    runs.send_tags(store, live.info.run_id, tags)
    runs.complete(store, live, candidate.live.ended if candidate.live else None)


def _fill_candidate(store: Store, state: PipelineState, run: Run, candidate: CandidateState) -> None:
    whole = {name: value for name, value in candidate.metrics.items() if not name.startswith("val_")}
    runs.send_params(store, run, candidate.settings | {"outcome": whole})
    own = candidate.live is not None and run.data.tags.get(LIVE_ID) == candidate.live.live_id
    if not own:
        runs.send_epochs(store, run, candidate.epochs)
    # Step 0 makes a bar per run where runs are compared, instead of a curve of one point.
    best = best_metrics(candidate.metrics, candidate.argmax)
    threshold = {name: value for name, value in candidate.point.items() if name == "threshold"}
    runs.send_epochs(store, run, [Epoch(0, best | evaluation_metrics({"test": candidate.test | threshold}))])
    runs.send_tags(store, run.info.run_id, state.tags | candidate.point_tags)
    _send_data_sets(store, run, state)
    if len(candidate.trials) > 1:
        for trial in candidate.trials:
            _trial_run(store, run, candidate, trial)
    runs.complete(store, run, candidate.live.ended if own and candidate.live else None)


def _trial_run(store: Store, parent: Run, candidate: CandidateState, trial: Mapping[str, Any]) -> None:
    number = str(trial["number"])
    identity = {runs.PARENT: parent.info.run_id, TRIAL: number}
    tags = {CANDIDATE: candidate.name, KIND: "trial", "millrace.state": str(trial.get("state", ""))}
    run = runs.find_or_create_run(store, identity, f"{candidate.name}-trial-{number}", tags)
    if runs.is_complete(run):
        return
    best = best_metrics(trial.get("metrics") or {}, candidate.argmax)
    runs.send_params(store, run, {**(trial.get("settings") or {}), "outcome.epochs": trial.get("epochs")})
    runs.send_epochs(store, run, [Epoch(0, best)])
    if trial.get("error"):
        runs.send_tags(store, run.info.run_id, {DESCRIPTION: f"**Failed.** {trial['error']}"})
    runs.complete(store, run)


def _send_data_sets(store: Store, run: Run, state: PipelineState) -> None:
    inputs = data_set_inputs(state.data["kind"], state.data_md5["data/split/split.parquet"], state.data_md5)
    store.client.log_inputs(run.info.run_id, inputs)


def _numbers(content: Mapping[str, Any] | None) -> dict[str, float]:
    """Return the entries that are numbers."""
    return {name: float(value) for name, value in (content or {}).items() if _is_number(value)}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def record_origin(store: Store, name: str, version: Version, tags: Mapping[str, str]) -> Version:
    """Return a version with other tags of its origin, written onto it, its run and that run's parent.

    Who may only read gets them as well: they are written where the store allows it.

    Raises:
        MlflowException: The store failed.
    """
    told = replace(version, tags={**version.tags, **tags})
    number = str(version.number)
    try:
        run = store.client.get_run(store.client.get_model_version(name, number).run_id)
        for run_id in {run.info.run_id, run.data.tags.get(runs.PARENT, run.info.run_id)}:
            runs.send_tags(store, run_id, {**tags, "mlflow.source.git.commit": tags["git.commit"]})
        return set_tags(store, name, version, tags)
    except MlflowException as error:
        if is_outage(error):
            raise
        return told


def download_pictures(store: Store, name: str, version: Version, folder: Path) -> Path | None:
    """Download what `evaluate` drew of a version, and return where it lies; None where its run has nothing of it.

    Raises:
        MlflowException: The store failed.
    """
    try:
        run = store.client.get_run(store.client.get_model_version(name, str(version.number)).run_id)
        whole, drawn = run.data.tags.get(runs.PARENT, run.info.run_id), f"{PICTURES}/evaluate"
        if not store.client.list_artifacts(whole, drawn):
            return None
        return Path(store.client.download_artifacts(whole, drawn, str(folder)))
    except (OSError, MlflowException) as error:
        if is_outage(error):
            raise
        return None  # removed with its run, or by a person
