"""What a model takes in and gives out: the two small agreements between features, models and serving.

`input_spec` and `output_spec` read them off `data/features/state.json`.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from pipeline.params.families import FAMILIES, input_kind

InputKind = Literal["image", "vector", "tokens", "bag", "pieces", "series"]
Task = Literal["classification", "multilabel", "regression", "forecasting", "anomaly"]

IMAGE: InputKind = "image"
PAD = -1e9
"""Stands in all channels of the steps after the end of a shorter series; no scaled number comes near it."""


@dataclass(frozen=True)
class InputSpec:
    """The inputs of a model: one that it is about, and side features joined to it late.

    Attributes:
        kind: `image`: raw uint8 pixels, NHWC; `vector`: float32 hand-made features; `tokens`: int32 ids of
            words or characters, 0 behind the end; `bag`: int32 ids of n-grams, 0 for none, beside an input
            `weights` of as many float32; `pieces`: int32 ids of pretrained vectors, 0 behind the end; `series`:
            float32 scaled steps, `PAD` behind the end.
        shape: Of one sample of the main input: `(height, width, channels)`, `(num_features,)`,
            `(max_tokens,)`, `(max_ngrams,)` or `(max_length, channels)`.
        mean: Per channel (pixels in [0, 1]) or per feature, measured on train; images and vectors only.
        standard_deviation: As `mean`; never 0.
        vocabulary_size: Tokens and bags: ids are below it.
        num_side: Width of the float32 input `side`, scaled; 0: there is none.
        categories: Per column of the int32 input `categories`: ids are below it; (): there is none.
        vectors_path: Tokens: a file of word vectors to start from; "" for none.
        has_padding: Series: whether lengths differ, so that steps may be padding.
        max_bag: Width of the int32 input `bag` and the float32 input `bag_weights` beside pieces, or beside the vector
            that a trunk made of them; 0: there are none.
        bag_size: Ids of `bag` are below it.
    """

    kind: InputKind
    shape: tuple[int, ...]
    mean: tuple[float, ...] = ()
    standard_deviation: tuple[float, ...] = ()
    vocabulary_size: int = 0
    num_side: int = 0
    categories: tuple[int, ...] = ()
    vectors_path: str = ""
    has_padding: bool = False
    max_bag: int = 0
    bag_size: int = 0


@dataclass(frozen=True)
class OutputSpec:
    """The output of a model.

    Attributes:
        classes: Class names in the one frozen order taken from the training split; () for other tasks.
        class_counts: Training samples per class, same order.
        train_samples: Multilabel: training samples in all, of which each has some of the classes or none; else 0.
        task: What is asked.
        targets: Names of what is predicted; regression and forecasting.
        target_mean: Per target, measured on train; models predict in units of the deviation around it.
        target_standard_deviation: Per target; never 0.
        target_channels: Forecasting: where each target stands among the channels of the series.
        horizon: Forecasting: steps ahead; else 1.
    """

    classes: tuple[str, ...] = ()
    class_counts: tuple[int, ...] = ()
    task: Task = "classification"
    targets: tuple[str, ...] = ()
    target_mean: tuple[float, ...] = ()
    target_standard_deviation: tuple[float, ...] = ()
    target_channels: tuple[int, ...] = ()
    horizon: int = 1
    train_samples: int = 0

    @property
    def num_classes(self) -> int:
        """Return how many classes there are."""
        return len(self.classes)

    @property
    def num_targets(self) -> int:
        """Return how many numbers are predicted per step."""
        return len(self.targets)


def input_spec(state: Mapping[str, Any], family: str) -> InputSpec:
    """Return what goes into a model.

    Images, texts and series are read as the table of families says; of windows without a history there is a
    vector of what is known about the step to predict.

    Args:
        state: Content of `data/features/state.json`.
        family: Name of the family, as in `candidates.<name>.family`.

    Raises:
        ValueError: Family `dense` without any hand-made feature of images.
    """
    kind = kind_read(state, family)
    num_side, categories = side_shape(state)
    spec = partial(InputSpec, kind, num_side=num_side, categories=categories)
    if kind in ("image", "vector"):
        measured = state["image" if kind == "image" else "handmade"]
        shape = tuple(measured["shape"]) if kind == "image" else (len(measured["names"]),)
        if shape == (0,):
            raise ValueError(
                "Family `dense` has no inputs. Expected at least one of colour, texture, edges. "
                "Received: features.groups=[]. Name a group, or remove the candidate."
            )
        return spec(shape, tuple(measured["mean"]), tuple(measured["standard_deviation"]))
    if kind == "tokens":
        text = state["text"]
        size = len(text["tokens"]["vocabulary"]) + 2
        return spec((text["tokens"]["max_tokens"],), vocabulary_size=size, vectors_path=text["vectors"])
    if kind == "bag":
        bag = state["text"]["bag"]
        return spec((bag["max_bag"],), vocabulary_size=len(bag["terms"]) + 1)
    if kind == "pieces":
        length, num_ids = pieces_shape(state)
        max_bag, bag_size = _bag_beside(state)
        return spec((length,), vocabulary_size=num_ids, max_bag=max_bag, bag_size=bag_size)
    series, windows = state["series"], state.get("windows")
    width = len(series["channels"])
    if windows is None:
        return spec((series["max_length"], width), has_padding=series["has_padding"])
    if windows["length"]:
        return spec((windows["length"], width))
    # Already to scale: models normalise vectors by these, which leaves them as they are.
    return InputSpec("vector", (num_side,), (0.0,) * num_side, (1.0,) * num_side, categories=categories)


def frozen_spec(state: Mapping[str, Any]) -> InputSpec:
    """Return what a head reads of a trunk: a vector per sample, and beside it what stands beside the sample.

    Args:
        state: Content of `data/features/state.json`, of a project with features.pretrained.
    """
    made, (num_side, categories) = state["pretrained"], side_shape(state)
    max_bag, bag_size = _bag_beside(state) if state.get("payload") == "text" else (0, 0)
    return InputSpec(
        "vector",
        (len(made["mean"]),),
        tuple(made["mean"]),
        tuple(made["standard_deviation"]),
        num_side=num_side,
        categories=categories,
        max_bag=max_bag,
        bag_size=bag_size,
    )


def pieces_shape(state: Mapping[str, Any]) -> tuple[int, int]:
    """Return how many pieces of a text are read, and which number all their ids are below."""
    pieces = state["text"]["pieces"]
    return pieces["max_pieces"], len(pieces["vocabulary"]) + 1


def _bag_beside(state: Mapping[str, Any]) -> tuple[int, int]:
    """Return how many n-grams of a text are read, and which number all their ids are below."""
    bag = state["text"]["bag"]
    return bag["max_bag"], len(bag["terms"]) + 1


def side_shape(state: Mapping[str, Any]) -> tuple[int, tuple[int, ...]]:
    """Return how many numbers stand beside a sample, and per embedded category how many ids it has."""
    side, windows = state.get("side"), state.get("windows")
    num_side = len(side["names"]) if side else 0
    categories: tuple[int, ...] = ()
    if side and side["mode"] == "embedded":
        categories = tuple(len(column["values"]) + 1 for column in side["categories"])
    return num_side + (len(windows["side"]["names"]) if windows else 0), categories


def output_spec(state: Mapping[str, Any]) -> OutputSpec:
    """Return what comes out of a model: a probability per class, numbers, or a reconstruction.

    Args:
        state: Content of `data/features/state.json`.
    """
    task = state.get("task", "classification")
    if task == "classification":
        return OutputSpec(tuple(state["classes"]), tuple(state["class_counts"]))
    if task == "multilabel":
        return OutputSpec(
            tuple(state["classes"]), tuple(state["class_counts"]), task, train_samples=state["train_samples"]
        )
    if task == "anomaly":
        return OutputSpec(task=task)
    target = state["target"]
    return OutputSpec(
        task=task,
        targets=tuple(target["names"]),
        target_mean=tuple(target["mean"]),
        target_standard_deviation=tuple(target["standard_deviation"]),
        target_channels=tuple(target["channels"]),
        horizon=state["windows"]["horizon"] if task == "forecasting" else 1,
    )


def kind_read(state: Mapping[str, Any], family: str) -> InputKind:
    """Return the kind of input that models of a family read.

    Args:
        state: Content of `data/features/state.json`.
        family: Name of the family, as in `candidates.<name>.family`.
    """
    return input_kind(family, state.get("payload", "image"), state.get("task", "classification"))


def kinds_read(state: Mapping[str, Any], settings: Mapping[str, Any]) -> tuple[InputKind, ...]:
    """Return the kinds of input that a model reads, in order: one, or those of the members of an ensemble.

    An ensemble says so itself. Where it does not it is from before members could read different things, and any member
    will do whose family is still there.

    Args:
        state: Content of the `state.json` that travels with the model.
        settings: Content of its settings.json.
    """
    if "reads" in settings:
        return tuple(settings["reads"])
    families = [str(own["family"]) for own in settings.get("members", {"": settings}).values()]
    return (kind_read(state, next((name for name in families if name in FAMILIES), families[0])),)


def called(name: str, kind: str, kinds: Collection[str]) -> str:
    """Return how an input of one kind is called in a model that may read several kinds.

    Alone it keeps its name. Among others the main input has the name of its kind, since each kind calls its own
    `inputs`; a bag is called as it is beside pieces, which read the same one; what stands beside a sample is the same
    for all.

    Args:
        name: Of the input, in a model that reads this kind alone.
        kind: What it is of.
        kinds: All that the model reads.
    """
    if len(kinds) == 1:
        return name
    return {"inputs": kind, "weights": "bag_weights"}.get(name, name)
