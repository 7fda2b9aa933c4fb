"""params.yaml as one frozen object, and what its parts say together.

`candidates.<name>.training` and `.tune` are laid over the sections of the same name; what a family has no use for is
left out. Stages take plain values from here and hand them on; nothing below a stage imports this room.
"""

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta

from pipeline.params.families import FAMILIES, Candidate, family_of
from pipeline.params.sections import (
    Count,
    Data,
    Evaluate,
    Features,
    Leaks,
    Reduce,
    Register,
    Section,
    Select,
    Split,
    Training,
    Tune,
    Validate,
)
from pipeline.runtime.strict_yaml import convert

CandidateName = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_-]*$", max_length=40)]


class Params(Section, frozen=True, kw_only=True):
    """The whole of params.yaml."""

    seed: Annotated[int, Meta(ge=0, lt=2**31)]
    threads: Count
    data: Data
    validate: Validate
    split: Split
    leaks: Leaks
    features: Features
    training: Training
    candidates: Annotated[dict[CandidateName, Candidate], Meta(min_length=1)]
    tune: Tune
    reduce: Reduce | None
    select: Select
    evaluate: Evaluate
    register: Register


def model_settings(params: Params, candidate: str) -> dict[str, Any]:
    """Return the settings of a candidate's model as plain values; those of no use to it are left out."""
    plain: dict[str, Any] = msgspec.to_builtins(params.candidates[candidate].model)
    return plain


def window_columns(params: Params) -> dict[str, Any] | None:
    """Return what windows read and predict, by the names of `leaks.findings.WindowColumns`; None without windows."""
    windows = params.data.windows
    if windows is None:
        return None
    return {
        name: getattr(windows, name)
        for name in ("length", "horizon", "targets", "known", "known_categorical")
    }


def training_of(params: Params, candidate: str) -> Training:
    """Return the `training` section with the candidate's own values laid over it.

    A family that is not trained has no epochs, whatever the section says.
    """
    block = params.candidates[candidate]
    training = _overridden(msgspec.to_builtins(params.training), block.training)
    if FAMILIES[family_of(block)].trained:
        return training
    return msgspec.structs.replace(training, epochs=0)


def workers_of(training: Training) -> int:
    """Return how many processes share a training: what is solved, without epochs, has one."""
    return 1 if training.workers is UNSET or not training.epochs else int(training.workers)


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
