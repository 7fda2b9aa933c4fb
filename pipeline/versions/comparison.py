"""A rebuilt version against the registered one: stage by stage, byte by byte, then number by number."""

from collections.abc import Iterator, Mapping
from contextlib import chdir
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.runtime import paths
from pipeline.runtime.errors import InputMissing, UserError
from pipeline.runtime.files import content_key, file_digest, read_json
from pipeline.runtime.repository import (
    Stages,
    commit_exists,
    file_at,
    git,
    relevant_stages,
    without_register,
)
from pipeline.runtime.strict_yaml import read_yaml, yaml_content
from pipeline.tracking.registry import EXTRA_DIR, MODEL_FILE, Version, fetch_model
from pipeline.tracking.store import Store

# --- What a registered version was made from: the commit, and what its dvc.lock said.

MAX_COMMITS = 100
"""How many later commits are searched for the dvc.lock of a version that carries none itself."""


@dataclass(frozen=True)
class Origin:
    """A version and where it came from.

    Attributes:
        model: Name in the registry.
        version: Its number.
        model_sha256: Digest (hex) of its `.keras` file.
        commit: The git commit (hex) of its code and parameters.
        stages: What its dvc.lock recorded; empty where none is left.
        folder: Its downloaded files.
    """

    model: str
    version: int
    model_sha256: str
    commit: str
    stages: Stages
    folder: Path


def read_origin(store: Store, name: str, version: Version, folder: Path) -> Origin:
    """Download a version, check its digest, and find its commit and dvc.lock.

    Args:
        store: Where it is registered.
        name: Of the model.
        version: The version.
        folder: Empty; gets its files.

    Raises:
        InputMissing: It was made from files that no commit holds, or the commit is not here.
        StorageFailed: Its files are gone or damaged.
    """
    commit, dirty = version.tags.get("git.commit", "none"), version.tags.get("git.dirty", "none")
    if commit == "none" or dirty != "false":
        raise InputMissing(
            f"{name} version {version.number} was made from files that no commit holds, so nobody can rebuild it "
            f"exactly. Expected git.dirty=false. Received: git.commit={commit}, git.dirty={dirty}, and no commit up to "
            "HEAD holds its dvc.lock, code and parameters. Commit them while they are here, or choose another version."
        )
    if not commit_exists(commit):
        raise InputMissing(
            f"The commit of {name} version {version.number} is not in this repository. Expected {commit}. Received: "
            "no such commit, also after `git fetch`. Clone the repository that the model was made in."
        )
    arrived = fetch_model(store, version, folder)
    return Origin(
        name,
        version.number,
        version.model_sha256,
        commit,
        _recorded_stages(arrived, version, commit),
        arrived,
    )


def _recorded_stages(arrived: Path, version: Version, commit: str) -> Stages:
    """Return the stages of the dvc.lock that made a version: its own copy, or the one in git that fits its tag.

    Nobody commits dvc.lock before the run that writes it, so it often stands in a later commit than the code.
    """
    text = file_at(commit, paths.PARAMS_YAML)
    params = yaml_content(text.decode(), f"{paths.PARAMS_YAML} of {commit}") if text else {}
    own = arrived / EXTRA_DIR / paths.DVC_LOCK.name
    if own.is_file():
        return _made_by(params, read_yaml(own))
    expected = version.tags.get("dvc.stages.sha256")
    for content in _locks_in_git(commit):
        stages = _made_by(params, yaml_content(content.decode(), f"{paths.DVC_LOCK} in git"))
        if content_key(stages) == expected:
            return stages
    return {}


def _made_by(params: Mapping[str, Any], lock: Mapping[str, Any]) -> Stages:
    """Return the stages that made the version: DVC keeps those of candidates that were removed before it was made."""
    return relevant_stages(lock, params["candidates"]) if "candidates" in params else without_register(lock)


def _locks_in_git(commit: str) -> Iterator[bytes]:
    """Yield dvc.lock at a commit, then at the later ones that changed it, oldest first."""
    later = git("rev-list", "--reverse", "--ancestry-path", f"{commit}..", "--", paths.DVC_LOCK.name) or b""
    for item in [commit, *later.decode().split()[:MAX_COMMITS]]:
        content = file_at(item, paths.DVC_LOCK.name)
        if content is not None:
            yield content


# --- A rebuilt version against the registered one.

IDENTICAL, TOLERABLE, DIFFERS = "bit-identical", "equal within tolerance", "differs"
ENVIRONMENT = ("requirements.lock", "requirements-training.lock")
"""Inputs of a stage that say which packages it ran with; older versions had the whole lock everywhere."""


@dataclass(frozen=True)
class Difference:
    """The first stage whose result is another one.

    Attributes:
        stage: Its name.
        outputs: Paths of the outputs that differ.
        data: Of its inputs, the files of data and results that differ.
        code: The files of code.
        params: The parameters.
        environment: The lock of the packages.
    """

    stage: str
    outputs: list[str]
    data: list[str]
    code: list[str]
    params: list[str]
    environment: list[str]

    def cause(self) -> str:
        """Return in words which inputs differed."""
        kinds = {name: getattr(self, name) for name in ("data", "code", "params", "environment")}
        told = [f"{name} ({', '.join(found[:3])})" for name, found in kinds.items() if found]
        return ", ".join(told) or "none of its inputs, so the machine or chance"


def compare(origin: Origin, tree: Path, tolerance: float) -> dict[str, Any]:
    """Compare what a worktree made with what was registered.

    Other bytes are the same model only where training alone can have made them (see `unexplained`), and where all
    test predictions and all test metrics agree.

    Args:
        origin: The registered version.
        tree: Its worktree, after the pipeline has run.
        tolerance: Largest difference that counts as equal: of predictions as a share of their spread, of metrics see
            `differing_metrics`.

    Returns:
        `answer`, `stage` (see `Difference`, or None), `compared` (number of stages), `model_sha256` of the rebuilt
        model, and, where it is another file, `unexplained` and `differences` (see `largest_differences`), else None.
    """
    rebuilt = without_register(read_yaml(tree / paths.DVC_LOCK))
    difference = first_difference(origin.stages, rebuilt)
    digest = file_digest(tree / paths.BEST_DIR / "model.keras", "sha256")
    content: dict[str, Any] = {
        "compared": len(origin.stages.keys() & rebuilt.keys()),
        "differences": None,
        "model_sha256": digest,
        "stage": asdict(difference) if difference else None,
        "unexplained": None,
    }
    if digest == origin.model_sha256:
        return content | {"answer": IDENTICAL if difference is None else DIFFERS}
    reason = unexplained(origin.stages, rebuilt)
    numbers = largest_differences(origin.folder, tree, tolerance)
    comparable = None not in (numbers["predictions"], numbers["weights"])
    near = comparable and numbers["predictions"] <= tolerance * numbers["scale"]
    answer = TOLERABLE if near and not reason and not numbers["metrics"] else DIFFERS
    return content | {"answer": answer, "differences": numbers, "unexplained": reason}


TRAINING = ("train@", "tune@", "folds@", "refit")
"""Stages that may give other bytes from the same inputs: processors add up in another order, training carries it on."""


def unexplained(recorded: Stages, rebuilt: Stages) -> str | None:
    """Return what differs that no training explains, in words; None where nothing does.

    Every stage must have had the same code, parameters and packages, and read the same data but for what follows from
    a training that read the same.

    Args:
        recorded: Stages of the dvc.lock of the version.
        rebuilt: Those of the rebuild.
    """
    if not recorded:
        return "no dvc.lock of the version is left, so nobody knows what it was made from"
    if added := sorted(rebuilt.keys() - recorded.keys()):
        return f"the version was made without stage {added[0]}"
    read = {path for stage in rebuilt.values() for path in _hashes(stage, "deps")}
    trained: set[str] = set()
    for name in stages_in_order(recorded):
        old = recorded[name]
        if name not in rebuilt:
            if any(_overlap(out, path) for out in _hashes(old, "outs") for path in read):
                return f"stage {name} was not run"
            continue
        new = rebuilt[name]
        inputs = _differing(_hashes(old, "deps"), _hashes(new, "deps"))
        other = [path for path in inputs if not any(_overlap(path, out) for out in trained)]
        other += _differing(_params(old), _params(new))
        if other or old.get("cmd") != new.get("cmd"):
            return f"stage {name} had other inputs ({', '.join(other[:3]) or 'its command'})"
        outputs = _differing(_hashes(old, "outs"), _hashes(new, "outs"))
        if outputs and not inputs and not name.startswith(TRAINING):
            return f"stage {name} gave another result from the same inputs, and trains nothing"
        trained |= set(outputs)
    return None


def _overlap(path: str, other: str) -> bool:
    """Return whether two paths are the same, or one lies in the other."""
    return path == other or path.startswith(f"{other}/") or other.startswith(f"{path}/")


def first_difference(recorded: Stages, rebuilt: Stages) -> Difference | None:
    """Return the first stage, in the order in which they follow from each other, whose outputs differ.

    Args:
        recorded: Stages of the dvc.lock of the version.
        rebuilt: Those of the rebuild; stages that it did not need to run are left out.
    """
    for name in stages_in_order(recorded):
        if name not in rebuilt:
            continue
        old, new = recorded[name], rebuilt[name]
        outputs = _differing(_hashes(old, "outs"), _hashes(new, "outs"))
        if outputs:
            inputs = _differing(_hashes(old, "deps"), _hashes(new, "deps"))
            code = [path for path in inputs if path.startswith("pipeline/")]
            environment = [path for path in inputs if path in ENVIRONMENT]
            data = [path for path in inputs if path not in {*code, *environment}]
            params = _differing(_params(old), _params(new))
            return Difference(name, outputs, data, code, params, environment)
    return None


def stages_in_order(stages: Stages) -> list[str]:
    """Return the names of stages so that each comes after those whose outputs it reads; ties by name."""
    made = {out["path"]: name for name, stage in stages.items() for out in stage.get("outs", [])}
    waits = {
        name: {made[out] for dep in stage.get("deps", []) for out in made if _overlap(dep["path"], out)}
        - {name}
        for name, stage in stages.items()
    }
    found: list[str] = []
    while len(found) < len(waits):
        ready = sorted(name for name in waits.keys() - set(found) if waits[name] <= set(found))
        # A ring cannot be in a dvc.lock that DVC wrote; a forged one ends here in the order of names.
        found += ready or sorted(waits.keys() - set(found))
    return found


def largest_differences(registered: Path, tree: Path, tolerance: float) -> dict[str, Any]:
    """Return by how much two models differ that are not the same bytes.

    Args:
        registered: Downloaded folder of the version.
        tree: Worktree with the rebuilt one, and with the test rows of both.
        tolerance: See `differing_metrics`.

    Returns:
        `predictions`: largest absolute difference on the test rows, `scale`: the spread of what the registered model
        answers there (of the class or target that differs most by its own spread), `rows`: how many; `weights`:
        largest absolute difference; None where shapes differ or the rows cannot be read. `metrics`: those that differ.
    """
    from pipeline.inference import backend

    registered = registered.absolute()
    settings = read_json(registered / EXTRA_DIR / "settings.json")
    backend.prepare_tensorflow(settings["threads"], settings["seed"])
    from pipeline.inference.keras_files import load_model

    rebuilt = tree / paths.BEST_DIR
    weights = [
        [np.asarray(weight) for weight in load_model(path).weights]
        for path in (registered / MODEL_FILE, rebuilt / "model.keras")
    ]
    alike = [array.shape for array in weights[0]] == [array.shape for array in weights[1]]
    return {
        **_prediction_differences(registered, tree),
        "metrics": differing_metrics(
            read_json(registered / EXTRA_DIR / "card.json"), read_json(rebuilt / "card.json"), tolerance
        ),
        "weights": _largest(*weights) if alike else None,
    }


def _prediction_differences(registered: Path, tree: Path) -> dict[str, Any]:
    """Return `predictions`, `scale` and `rows`: the registered model on the test rows against what stands there."""
    from pipeline.evaluation.golden import columns, spread
    from pipeline.evaluation.scoring import NotComparable, load_test_rows, score

    nothing = {"predictions": None, "rows": 0, "scale": None}
    try:
        received = np.load(tree / paths.BEST_DIR / "test_predictions.npy", allow_pickle=False)
        with chdir(tree):
            answers = score("it", registered / MODEL_FILE, registered / EXTRA_DIR, load_test_rows())
    except (NotComparable, UserError, ValueError, KeyError, OSError):  # another task, family or shape of data
        return nothing
    expected = answers.predictions
    if received.shape != expected.shape or not (np.isfinite(received).all() and np.isfinite(expected).all()):
        return nothing
    differences = np.abs(columns(received) - columns(expected)).max(axis=0)
    scales = spread(columns(expected))
    shares = np.divide(differences, scales, out=np.full_like(scales, np.inf), where=scales > 0)
    worst = int(np.argmax(np.where(differences == 0, 0, shares)))
    return {
        "predictions": float(differences[worst]),
        "rows": len(expected),
        "scale": float(scales[worst]),
    }


def differing_metrics(
    registered: Mapping[str, Any], rebuilt: Mapping[str, Any], tolerance: float
) -> dict[str, list[float | None]]:
    """Return the test metrics of two cards that differ: name to both values, None where one has none.

    Args:
        registered: Content of the card.json of the version.
        rebuilt: Of the rebuilt one.
        tolerance: Largest difference that counts as equal: of errors in the units of the data as a share of the
            registered one, of all others, whose unit is 1, as it is.
    """
    in_units = registered.get("task") in ("regression", "forecasting")
    found = {}
    for name in sorted(registered["test"].keys() | rebuilt["test"].keys()):
        old, new = (card["test"].get(name, {}).get("value") for card in (registered, rebuilt))
        missing = old is None or new is None
        if missing or not abs(old - new) <= tolerance * (abs(old) if in_units else 1.0):
            found[name] = [old, new]
    return found


def _largest(some: list[np.ndarray], others: list[np.ndarray]) -> float:
    """Return the largest absolute difference."""
    pairs = zip(some, others, strict=True)
    return max((float(np.abs(one - other).max(initial=0)) for one, other in pairs), default=0.0)


def _hashes(stage: Mapping[str, Any], kind: str) -> dict[str, str]:
    return {item["path"]: str(item["md5"]) for item in stage.get(kind, [])}


def _params(stage: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for file in stage.get("params", {}).values() for key, value in file.items()}


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    return sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))
