"""Several models side by side in one file, which answers with the mean of their answers.

Import it after `backend.prepare_tensorflow`.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from pipeline.inference.keras_files import load_model, save_model
from pipeline.inputs.specs import IMAGE, called, kind_read
from pipeline.inputs.train_data import load_train_data
from pipeline.runtime import paths
from pipeline.runtime.files import read_json, write_json
from pipeline.selection.refit import tempered_model
from pipeline.training.validation_scores import validation_metrics

ANSWERS = "answers"
"""What a message calls the output of a model."""


def joined(members: Mapping[str, keras.Model], kinds: Mapping[str, str]) -> keras.Model:
    """Return one model that answers with the mean of several models' answers.

    Layers lie side by side, not as models in a model: what counts the numbers that layers give
    (`prediction.rows_at_once`) sees them all. The sum of three float32 numbers depends on their order, which is that
    of the members.

    Args:
        members: By name; two or more that give outputs of one shape.
        kinds: Name to the kind of input that the member reads, see `pipeline.inputs.specs`. Where they are several,
            inputs have the names that `called` gives them.

    Returns:
        A model with weights of its own. Its last layer has the name that the first member's has, all others begin with
        the name of their member.

    Raises:
        ValueError: Two read other inputs of one kind, or give other outputs.
    """
    ends = {name: _ends(model) for name, model in members.items()}
    first = next(iter(members))
    inputs: dict[str, keras.KerasTensor] = {}
    outputs = []
    for name, model in members.items():
        alike = next(other for other in members if kinds[other] == kinds[name])
        expected = {**ends[alike], ANSWERS: ends[first][ANSWERS]}
        if ends[name] != expected:
            raise ValueError(
                f"{name} cannot be averaged with the other members of the ensemble. Expected inputs and outputs "
                f"{expected}. Received: {ends[name]}. Name other members in select.ensemble."
            )
        given = {}
        for tensor in model.inputs:
            shared = called(tensor.name, kinds[name], set(kinds.values()))
            if shared not in inputs:
                inputs[shared] = keras.Input(tensor.shape[1:], dtype=tensor.dtype, name=shared)
            given[tensor.name] = inputs[shared]
        outputs.append(_beside(name, model, given))
    output = keras.layers.Average(name=members[first].output_names[0])(outputs)
    return keras.Model(
        inputs if len(inputs) > 1 else next(iter(inputs.values())), output, name=paths.ENSEMBLE
    )


def _ends(model: keras.Model) -> dict[str, Any]:
    """Return shape and type of every input by its name, and of what comes out."""
    inputs = {tensor.name: (tensor.shape, tensor.dtype) for tensor in model.inputs}
    return inputs | {ANSWERS: (model.output.shape, model.output.dtype)}


def _beside(name: str, model: keras.Model, inputs: Mapping[str, keras.KerasTensor]) -> keras.KerasTensor:
    """Return what a copy of a model makes of inputs, given by its own names; its layers begin with a new name."""

    def renamed(layer: keras.layers.Layer) -> keras.layers.Layer:
        # No layer of ours has a hyphen, so that no two names meet.
        return type(layer).from_config(layer.get_config() | {"name": f"{name}-{layer.name}"})

    # As a list: the keys of a dictionary would have to be the names of the tensors.
    listed = keras.Model(model.inputs, model.output)
    given = [inputs[tensor.name] for tensor in model.inputs]
    copy = keras.models.clone_model(listed, input_tensors=given, clone_function=renamed)
    for layer in model.layers:
        if layer.weights:
            copy.get_layer(f"{name}-{layer.name}").set_weights(layer.get_weights())
    return copy.output


def write_ensemble(
    members: Sequence[str], folder_of: Callable[[str], Path], target: Path, temperature: float | None = None
) -> bool:
    """Write the files that stand for an ensemble, as those of a candidate.

    The temperature is laid on the logits of each member, before the mean: a mean of probabilities has no logits, and it
    is less sure than its members, so that temperatures of their own would make it less sure than it is right.

    Args:
        members: Names of the candidates, in the order in which they are added up.
        folder_of: Name to the folder with model.keras and settings.json of what is joined.
        target: Gets model.keras, settings.json, metrics.json, history.json and trials.json.
        temperature: What all logits are divided by; None for nothing. Without effect where a member has no logits.

    Returns:
        Whether logits are divided.

    Raises:
        ValueError: They read other inputs of one kind, give other outputs, or not all of those that read images are
            asked for mirrored ones.
    """
    models = {name: load_model(folder_of(name) / "model.keras") for name in members}
    settings: dict[str, dict[str, Any]] = {
        name: read_json(folder_of(name) / "settings.json", "refit") for name in members
    }
    any_member = settings[members[0]]
    state = read_json(paths.FEATURES_STATE, "features")
    kinds = {name: kind_read(state, own["family"]) for name, own in settings.items()}
    flips = {
        name: bool(own["training"]["test_time_flip"])
        for name, own in settings.items()
        if kinds[name] == IMAGE
    }
    if len(set(flips.values())) > 1:
        raise ValueError(
            "An ensemble asks all members that read images the same. Expected training.test_time_flip alike for them. "
            f"Received: {flips}. Set it alike, or name others in select.ensemble."
        )
    told: dict[str, Any] = {
        "family": paths.ENSEMBLE,
        "members": settings,
        "model": {},
        "reads": list(dict.fromkeys(kinds.values())),
        "seed": any_member["seed"],
        "threads": any_member["threads"],
        "training": {"test_time_flip": any(flips.values())},
    }
    if temperature is not None:
        made = {name: tempered_model(model, temperature) for name, model in models.items()}
        with_logits = {name: model for name, model in made.items() if model is not None}
        if len(with_logits) == len(models):
            models, told = with_logits, told | {"temperature": temperature}
    again = {name: own["refit"] for name, own in settings.items() if "refit" in own}
    if len(again) == len(settings):
        told["refit"] = {"members": again, "rows": any_member["refit"]["rows"]}
    model = joined(models, kinds)
    data = load_train_data(any_member["family"])
    given = [np.load(folder_of(name) / "val_predictions.npy", allow_pickle=False) for name in members]
    answers = np.asarray(np.mean(given, axis=0, dtype=np.float64), np.float32)
    metrics = {
        "best_epoch": 0,
        "epochs": 0,
        "parameters": model.count_params(),
        **validation_metrics(data, answers),
    }
    save_model(model, target / "model.keras")
    write_json(target / "settings.json", told)
    write_json(target / "history.json", {"epochs": []})
    write_json(target / "trials.json", [{"metrics": metrics, "number": 0, "state": "complete"}])
    write_json(target / "metrics.json", metrics)
    return "temperature" in told
