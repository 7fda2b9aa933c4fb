"""The state of a pipeline as its files tell it: which data, code, parameters and results belong together.

`read_state` gathers what the record in MLflow shows. It reads files and asks git; it knows no server.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.provenance.origin import Committed, committed_state, origin_tags
from pipeline.runtime import paths
from pipeline.runtime.files import content_key, read_json
from pipeline.runtime.progress import Epoch, LiveTrace, history_epochs, live_path, live_trace, same_values
from pipeline.runtime.repository import locked_stages, output_md5
from pipeline.runtime.strict_yaml import read_yaml

# --- What a data set is, split by split: a digest that two clones share and that names rows, not files.

SPLITS = ("train", "val", "test")


def split_digests() -> dict[str, str]:
    """Return the md5 (hex) of each split's rows, whatever order they stand in.

    A row is the sha256 of a sample's content with the steps of it that belong to the split. Nothing is returned
    where `samples.parquet` or `split.parquet` does not exist.
    """
    if not (paths.SPLIT_PARQUET.is_file() and paths.SAMPLES_PARQUET.is_file()):
        return {}
    names = [name for name in ("start", "stop") if name in pq.read_schema(paths.SPLIT_PARQUET).names]
    rows = pq.read_table(paths.SPLIT_PARQUET, columns=["sample_id", "split", *names])
    content = pq.read_table(paths.SAMPLES_PARQUET, columns=["sample_id", "content_sha256"])
    joined = rows.join(content, "sample_id", join_type="left outer")
    return {split: _digest(joined.filter(pc.equal(joined["split"], split)), names) for split in SPLITS}


def _digest(rows: pa.Table, names: list[str]) -> str:
    columns = [rows[name].to_pylist() for name in ("content_sha256", *names)]
    lines = sorted(" ".join(map(str, row)) for row in zip(*columns, strict=True))
    return hashlib.md5("\n".join(lines).encode(), usedforsecurity=False).hexdigest()


# --- The state of a pipeline as its files tell it.

ARGMAX = "argmax_"
"""Begins the name of a score that counts the most probable classes, beside others that are taken at a threshold."""
DATA_PATHS = (paths.SPLIT_PARQUET, paths.SAMPLES_PARQUET, paths.PAYLOAD_NPY)


@dataclass(frozen=True)
class CandidateState:
    """One candidate as it came out of tuning.

    Attributes:
        name: As in params.yaml.
        output_md5: md5 of its folder, as dvc.lock has it.
        settings: Content of `settings.json`.
        metrics: Content of `metrics.json`.
        epochs: The whole history.
        trials: Content of `trials.json`.
        live: The live log of its baseline, if this machine trained it.
        test: Its metrics on the test rows.
        baseline_won: Whether the baseline is what came out of tuning.
        point: The positive one of two classes and the threshold its test metrics are measured at; {} where there is
            none.
        argmax: Names of metrics of its trials that count the most probable classes, where others are measured at a
            threshold.
    """

    name: str
    output_md5: str
    settings: dict[str, Any]
    metrics: dict[str, Any]
    epochs: tuple[Epoch, ...]
    trials: tuple[dict[str, Any], ...]
    live: LiveTrace | None
    test: dict[str, float]
    baseline_won: bool
    point: dict[str, Any] = field(default_factory=dict)
    argmax: tuple[str, ...] = ()

    @property
    def point_tags(self) -> dict[str, str]:
        """Return the positive class and its threshold as tags of a run or a version; {} where there is none."""
        return {f"operating_point.{name}": str(value) for name, value in self.point.items()}


@dataclass(frozen=True)
class PipelineState:
    """Everything the record shows of one pipeline state.

    Attributes:
        fingerprint: sha256 over dvc.lock (without the register stage) and params.yaml: equal states of
            two clones have equal fingerprints.
        committed: Whether git holds what made it.
        tags: Where it comes from: commit, digests.
        params: The content of params.yaml.
        data: Content of data/source.json.
        data_md5: Path to md5, as dvc.lock has it, of the files that say which samples are in which split.
        candidates: In the order of params.yaml; an ensemble comes last.
        evaluation: Content of reports/evaluate/metrics.json.
        report_paths: Pictures and HTML reports.
    """

    fingerprint: str
    committed: Committed
    tags: dict[str, str]
    params: dict[str, Any]
    data: dict[str, Any]
    data_md5: dict[str, str]
    candidates: tuple[CandidateState, ...]
    evaluation: dict[str, Any] = field(default_factory=dict)
    report_paths: tuple[Path, ...] = ()


def read_state(candidates: Sequence[str]) -> PipelineState:
    """Return the state of the pipeline in the working directory.

    Args:
        candidates: Names from params.yaml.

    Raises:
        FileNotFoundError: A result is missing; says which stage makes it.
    """
    params = read_yaml(paths.PARAMS_YAML)
    stages = locked_stages(list(candidates))
    committed = committed_state(stages, list(candidates))
    return PipelineState(
        fingerprint=content_key([stages, params]),
        committed=committed,
        tags=origin_tags(stages, committed),
        params=params,
        data=read_json(paths.SOURCE_JSON, "init"),
        data_md5={path.as_posix(): output_md5(stages, path) for path in DATA_PATHS},
        candidates=(*(_read_candidate(name, stages) for name in candidates), *_ensemble(candidates, stages)),
        evaluation=read_json(paths.EVALUATE_METRICS, "evaluate"),
        report_paths=tuple(
            path for path in sorted(Path("reports").rglob("*")) if path.suffix in (".png", ".html")
        ),
    )


def _read_candidate(name: str, stages: dict[str, Any]) -> CandidateState:
    folder = paths.tuned_dir(name)
    history = read_json(folder / "history.json", f"tune@{name}")
    baseline = paths.baseline_dir(name) / "history.json"
    trace = live_trace(live_path(name))
    # A log of another training (an older one, when DVC restored this one from its run cache) is no witness.
    if trace and not (
        baseline.is_file() and same_values(trace.epochs, tuple(history_epochs(read_json(baseline))))
    ):
        trace = None
    return CandidateState(
        name=name,
        output_md5=output_md5(stages, folder),
        settings=read_json(folder / "settings.json", f"tune@{name}"),
        metrics=read_json(folder / "metrics.json", f"tune@{name}"),
        epochs=tuple(history_epochs(history)),
        trials=tuple(read_json(folder / "trials.json", f"tune@{name}")),
        live=trace,
        baseline_won=baseline.is_file() and read_json(baseline) == history,
        **_judged(name),
    )


def _ensemble(candidates: Sequence[str], stages: dict[str, Any]) -> Iterator[CandidateState]:
    """Yield the candidates that `refit` joined, where it did; their answers are the mean of the members'."""
    folder = paths.selected_dir(paths.ENSEMBLE)
    if paths.ENSEMBLE in candidates or not (folder / "settings.json").is_file():
        return
    settings, metrics, trials = (
        read_json(folder / f"{name}.json", "refit") for name in ("settings", "metrics", "trials")
    )
    yield CandidateState(
        name=paths.ENSEMBLE,
        output_md5=output_md5(stages, paths.SELECTED_DIR),
        settings=settings,
        metrics=metrics,
        epochs=(),
        trials=tuple(trials),
        live=None,
        baseline_won=False,
        **_judged(paths.ENSEMBLE),
    )


def _judged(candidate: str) -> dict[str, Any]:
    """Return what the evaluation says of a candidate: `test`, `point` and `argmax` of its state."""
    rows = read_json(paths.EVALUATE_TABLES_DIR / "candidates.json", "evaluate")
    row = next(row for row in rows if row["candidate"] == candidate)
    point = row.get("operating_point", {})
    return {
        "test": {name: interval["value"] for name, interval in row["test"].items()},
        "point": point if "threshold" in point else {},
        "argmax": tuple(name.removeprefix(ARGMAX) for name in row["baseline_val"] if name.startswith(ARGMAX)),
    }
