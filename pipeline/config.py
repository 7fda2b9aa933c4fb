"""Every knob of the project: `params.yaml` as one frozen, strict object.

Stages load it once with `load_params` and hand plain values on; nothing below a stage imports this file.
The comments in `params.yaml` explain each key to its user; the types and ranges here enforce them.
There are no defaults for anything that moves a number: docs/decisions/0004.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from pipeline.strict_yaml import ParamsError, Place, convert, read_yaml

__all__ = ["Params", "ParamsError", "load_params", "repaired_params", "training_of", "tune_of"]

Count = Annotated[int, Meta(ge=1)]
Natural = Annotated[int, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, lt=1)]
"""A part of a whole, 0 included, 1 excluded."""
Positive = Annotated[float, Meta(gt=0)]
NotNegative = Annotated[float, Meta(ge=0)]
Activation = Literal["relu", "sigmoid", "tanh"]
CandidateName = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_-]*$", max_length=40)]


class Section(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A block of params.yaml: immutable, and closed to names it does not know."""


class DefectPolicy(Section, frozen=True):
    """What happens to an image that is not as expected; every case is counted in the ingest report."""

    size: Literal["convert", "reject"]
    mode: Literal["convert", "reject"]
    exif_rotation: Literal["convert", "reject"]
    undecodable: Literal["reject", "fail"]


class Data(Section, frozen=True):
    """How raw samples become one canonical data set."""

    task: Literal["classification"]
    image_size: tuple[Count, Count] | None
    channels: Literal[1, 3] | None
    resize: Literal["stretch", "pad", "crop"]
    policy: DefectPolicy
    max_rejected_share: Share
    limit_per_class: Count | None


class Validate(Section, frozen=True):
    """Bounds the data must keep before anything is trained on it."""

    min_samples_per_class: Count
    max_class_ratio: Annotated[float, Meta(ge=1)]
    max_label_conflicts: Natural
    max_duplicate_share: Share
    near_hash_distance: Annotated[int, Meta(ge=0, le=16)]
    near_pixel_difference: Share


class Split(Section, frozen=True):
    """Who trains, who chooses, who judges."""

    method: Literal["stratified", "given"]
    val_share: Share
    test_share: Share
    salt: str


class Features(Section, frozen=True):
    """Hand-made image features, for candidates of family `dense` (and nobody else)."""

    groups: tuple[Literal["colour", "texture", "edges"], ...]
    edge_cell_px: Annotated[int, Meta(ge=2)]
    colour_bins: Annotated[int, Meta(ge=2, le=64)]


class Augment(Section, frozen=True):
    """Random changes of a training image, drawn anew each epoch."""

    flip: bool
    shift_px: Natural
    cutout_px: Natural


class Training(Section, frozen=True):
    """One optimisation run."""

    epochs: Natural
    batch_size: Count
    optimizer: Literal["adam", "adamw", "sgd"]
    learning_rate: Positive
    momentum: Share
    weight_decay: NotNegative
    schedule: Literal["constant", "exponential", "step", "cosine"]
    warmup_share: Share
    decay_rate: Annotated[float, Meta(gt=0, le=1)]
    decay_epochs: Positive
    label_smoothing: Share
    ema_momentum: Share
    clip_norm: NotNegative
    early_stopping_patience: Natural
    monitor: Literal["val_loss", "val_accuracy"]
    augment: Augment
    test_time_flip: bool


class Tune(Section, frozen=True):
    """The search around a baseline."""

    trials: Natural
    generation: Count
    reduction: Annotated[int, Meta(ge=2)]
    min_epochs: Count
    trial_limit_seconds: Positive
    workers: Count


class FloatRange(Section, frozen=True, tag_field="kind", tag="float"):
    """A real number between low and high, on a log scale if so wished."""

    low: float
    high: float
    log: bool = False


class IntRange(Section, frozen=True, tag_field="kind", tag="int"):
    """A whole number between low and high, both included."""

    low: int
    high: int
    log: bool = False


class Choice(Section, frozen=True, tag_field="kind", tag="choice"):
    """One of the listed values."""

    values: Annotated[tuple[int | float | str | bool, ...], Meta(min_length=2)]


Space = dict[str, FloatRange | IntRange | Choice]
"""Search space: dotted key below the candidate (`training.learning_rate`, `model.dropout`) to its range."""


class TuneOverride(Section, frozen=True):
    """What a candidate changes of the `tune` section, and its search space."""

    trials: Natural | None = None
    trial_limit_seconds: Positive | None = None
    space: Space = {}


class Cnn(Section, frozen=True):
    """Settings of family `cnn`: blocks of convolution, normalisation, activation and pooling."""

    filters: Annotated[tuple[Count, ...], Meta(min_length=1)]
    convolutions_per_block: Count
    kernel_size: Count
    strides: Count
    padding: Literal["same", "valid"]
    pooling: Literal["max", "average", "none"]
    pool_size: Annotated[int, Meta(ge=2)]
    batch_normalization: bool
    activation: Activation
    block_dropout: Share
    head: Literal["flatten", "global_average"]
    units: Natural
    dropout: Share
    l2: NotNegative


class Rnn(Section, frozen=True):
    """Settings of family `rnn`: the rows of the image are the time steps."""

    cell: Literal["simple", "lstm", "gru"]
    units: Annotated[tuple[Count, ...], Meta(min_length=1)]
    bidirectional: bool
    dropout: Share
    l2: NotNegative


class Autoencoder(Section, frozen=True):
    """Settings of family `autoencoder`: reconstruction first, then a classifier on the codes."""

    kind: Literal["dense", "conv"]
    codes: Count
    units: tuple[Count, ...]
    filters: tuple[Count, ...]
    activation: Activation
    pretrain_epochs: Count
    pretrain_learning_rate: Positive
    encoder: Literal["frozen", "fine_tuned"]
    classifier_units: tuple[Count, ...]
    dropout: Share
    l2: NotNegative


class Dense(Section, frozen=True):
    """Settings of family `dense`: a network on the hand-made features."""

    units: Annotated[tuple[Count, ...], Meta(min_length=1)]
    activation: Activation
    batch_normalization: bool
    dropout: Share
    l2: NotNegative


class Linear(Section, frozen=True):
    """Settings of family `linear`: softmax regression, a baseline every model must beat."""

    l2: NotNegative


class Majority(Section, frozen=True):
    """Family `majority` has no settings: it answers with the class shares of the training set."""


class _Candidate(Section, frozen=True, tag_field="family"):
    training: dict[str, Any]
    """Keys of the `training` section that this candidate sets differently."""
    tune: TuneOverride


class CnnCandidate(_Candidate, frozen=True, tag="cnn"):
    """A candidate of family `cnn`."""

    model: Cnn


class RnnCandidate(_Candidate, frozen=True, tag="rnn"):
    """A candidate of family `rnn`."""

    model: Rnn


class AutoencoderCandidate(_Candidate, frozen=True, tag="autoencoder"):
    """A candidate of family `autoencoder`."""

    model: Autoencoder


class DenseCandidate(_Candidate, frozen=True, tag="dense"):
    """A candidate of family `dense`."""

    model: Dense


class LinearCandidate(_Candidate, frozen=True, tag="linear"):
    """A candidate of family `linear`."""

    model: Linear


class MajorityCandidate(_Candidate, frozen=True, tag="majority"):
    """A candidate of family `majority`."""

    model: Majority


Candidate = (
    CnnCandidate | RnnCandidate | AutoencoderCandidate | DenseCandidate | LinearCandidate | MajorityCandidate
)
BASELINE_FAMILIES = ("majority", "linear")


class Evaluate(Section, frozen=True):
    """How the chosen model is judged."""

    select_by: Literal["accuracy", "balanced_accuracy", "macro_f1", "log_loss"]
    bootstrap_resamples: Annotated[int, Meta(ge=100)]
    confidence: Annotated[float, Meta(gt=0.5, lt=1)]
    calibration_bins: Annotated[int, Meta(ge=2)]


class Register(Section, frozen=True):
    """Under which name, and by which margin, a model becomes champion."""

    model_name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    experiment: Annotated[str, Meta(min_length=1)]
    margin: Share


class Params(Section, frozen=True):
    """The whole of params.yaml."""

    seed: Annotated[int, Meta(ge=0, lt=2**31)]
    threads: Count
    data: Data
    validate: Validate
    split: Split
    features: Features
    training: Training
    candidates: Annotated[dict[CandidateName, Candidate], Meta(min_length=1)]
    tune: Tune
    evaluate: Evaluate
    register: Register


def load_params(path: Path = Path("params.yaml")) -> Params:
    """Return the parameters of the project.

    Raises:
        ParamsError: Unknown names, wrong types, values out of range; all of them at once.
            Contradictions between values are the business of `pipeline.contradictions`.
        FileNotFoundError: There is no such file.
    """
    return _converted(read_yaml(path), path.name)


def repaired_params(places: list[Place], path: Path, fallback_path: Path) -> Params | None:
    """Return the parameters with each unusable value replaced, so that contradictions show beside it.

    Args:
        places: Where the unusable values are.
        path: The file that holds them.
        fallback_path: A params file that holds usable ones.

    Returns:
        None where that is not enough to understand the file.
    """
    try:
        content, fallback = read_yaml(path), read_yaml(fallback_path)
        for place in places:
            _repair(content, fallback, place)
        return _converted(content, path.name)
    except (ParamsError, FileNotFoundError):
        return None


def _repair(content: dict[str, Any], fallback: dict[str, Any], place: Place) -> None:
    """Put the fallback's value at a place, or nothing where it has none; a candidate is replaced whole."""
    place = place[:2] if place[0] == "candidates" else place
    for key in place[:-1]:
        inner: Any = content.get(key)
        if not isinstance(inner, dict):
            return
        content, fallback = inner, fallback.get(key) or {}
    if place[-1] in fallback:
        content[place[-1]] = fallback[place[-1]]
    else:
        content.pop(place[-1], None)


def _converted(content: dict[str, Any], where: str) -> Params:
    problems, places = _override_problems(content, where)
    try:
        params = convert(content, Params, where)
    except ParamsError as error:
        raise ParamsError(error.problems + problems, error.places + places) from error
    if problems:
        raise ParamsError(problems, places)
    return params


def training_of(params: Params, candidate: str) -> Training:
    """Return the `training` section with the candidate's own values laid over it."""
    return _overridden(msgspec.to_builtins(params.training), params.candidates[candidate].training)


def tune_of(params: Params, candidate: str) -> Tune:
    """Return the `tune` section with the candidate's own values laid over it."""
    override = params.candidates[candidate].tune
    changed = {
        name: getattr(override, name)
        for name in ("trials", "trial_limit_seconds")
        if getattr(override, name) is not None
    }
    return msgspec.structs.replace(params.tune, **changed)


def _overridden(section: dict[str, Any], override: dict[str, Any]) -> Training:
    merged = section | override
    if isinstance(override.get("augment"), dict):
        merged["augment"] = section["augment"] | override["augment"]
    return convert(merged, Training, "params.yaml")


def _override_problems(content: dict[str, Any], where: str) -> tuple[list[str], list[Place]]:
    """Return the problems of `candidates.*.training`, named by the key the user typed, and their places."""
    problems: list[str] = []
    places: list[Place] = []
    section = content.get("training")
    candidates = content.get("candidates")
    if not isinstance(section, dict) or not isinstance(candidates, dict):
        return [], []
    try:
        convert(section, Training, where)
    except ParamsError:
        return [], []  # already reported at `training` itself
    for name, candidate in candidates.items():
        override = candidate.get("training", {}) if isinstance(candidate, dict) else {}
        if not isinstance(override, dict):
            continue  # reported by the walk over the whole file
        try:
            _overridden(section, override)
        except ParamsError as error:
            place = f"{where}: candidates.{name}.training."
            problems += [problem.replace("params.yaml: ", place, 1) for problem in error.problems]
            places.append(("candidates", name))
    return problems, places
