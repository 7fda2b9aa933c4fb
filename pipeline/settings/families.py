"""Settings of every family of models, and the candidates that carry them.

A setting that only some data or tasks know has a default that means "not used"; it is not handed to the
family then, and `pipeline/contradictions.py` says where it is missing or of no effect.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from msgspec import Meta

from pipeline.settings.sections import (
    Activation,
    Count,
    Natural,
    NotNegative,
    Positive,
    Section,
    Share,
    TuneOverride,
)
from pipeline.specs import InputKind


class _Family(Section, frozen=True, kw_only=True, omit_defaults=True):
    output_activation: Literal["linear", "tanh"] = "linear"
    """Of regression and forecasting."""


class _Fused(_Family, frozen=True, kw_only=True):
    fusion_units: tuple[Count, ...] = ()
    """Dense layers after side features are joined."""
    embedding_units: Count | None = None
    """Texts: width of the vector of a word, a character or an n-gram."""


class Cnn(_Fused, frozen=True, kw_only=True):
    """Settings of family `cnn`: blocks of convolution, normalisation, activation and pooling."""

    kernel_sizes: tuple[Count, ...] = ()
    """Texts and series: one per block instead of `kernel_size`."""
    side_by_side: bool = False
    """Texts and series: all `kernel_sizes` look at the same input, and what they find is joined."""
    last_value_residual: bool = False
    """Forecasting: predict the change from the last value."""
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
    head: Literal["flatten", "global_average", "global_max"]
    units: Natural
    dropout: Share
    l2: NotNegative


class Rnn(_Fused, frozen=True, kw_only=True):
    """Settings of family `rnn`: rows of an image, words of a text or steps of a series are the time steps."""

    attention: bool = False
    """Pool all states by learned weights instead of taking the last one."""
    last_value_residual: bool = False
    """Forecasting: predict the change from the last value."""
    cell: Literal["simple", "lstm", "gru"]
    units: Annotated[tuple[Count, ...], Meta(min_length=1)]
    bidirectional: bool
    dropout: Share
    l2: NotNegative


class Autoencoder(_Fused, frozen=True, kw_only=True):
    """Settings of family `autoencoder`: reconstruction first, then an answer from the codes.

    Task anomaly knows the reconstruction only: `training` steers it, and the settings of the second step
    are left out.
    """

    kind: Literal["dense", "conv", "sequence"]
    codes: Count
    units: tuple[Count, ...]
    filters: tuple[Count, ...]
    cell: Literal["simple", "lstm", "gru"] | None = None
    """For kind `sequence`."""
    activation: Activation
    l2: NotNegative
    pretrain_epochs: Count | None = None
    pretrain_learning_rate: Positive | None = None
    encoder: Literal["frozen", "fine_tuned"] | None = None
    classifier: Literal["dense", "cnn"] = "dense"
    """`cnn`: codes are reshaped to a small image and classified by convolutions."""
    classifier_units: tuple[Count, ...] | None = None
    dropout: Share | None = None


class Dense(_Fused, frozen=True, kw_only=True):
    """Settings of family `dense`: a network on hand-made features, a bag of n-grams, or a series laid flat."""

    last_value_residual: bool = False
    """Forecasting: predict the change from the last value."""
    per_channel: bool = False
    """Forecasting: one network for all channels, each from its own past."""
    units: Annotated[tuple[Count, ...], Meta(min_length=1)]
    activation: Activation
    batch_normalization: bool
    dropout: Share
    l2: NotNegative


class Linear(_Family, frozen=True, kw_only=True):
    """Settings of family `linear`: softmax or linear regression, a baseline every model must beat."""

    last_value_residual: bool = False
    """Forecasting: predict the change from the last value."""
    per_channel: bool = False
    """Forecasting: one map for all channels, each from its own past."""
    l2: NotNegative


class Majority(Section, frozen=True):
    """Family `majority` has no settings: it answers with the class shares, or the mean, of the training set."""


class Naive(Section, frozen=True):
    """Settings of family `naive`: forecasts repeat the past."""

    season: Count
    """Steps back; 1 repeats the last value."""


class Nearest(Section, frozen=True):
    """Family `nearest` has no settings: the class of the nearest training series (1-NN, Euclidean)."""


class Pca(Section, frozen=True):
    """Settings of family `pca`: reconstruction from principal components."""

    codes: Count


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


class NaiveCandidate(_Candidate, frozen=True, tag="naive"):
    """A candidate of family `naive`."""

    model: Naive


class NearestCandidate(_Candidate, frozen=True, tag="nearest"):
    """A candidate of family `nearest`."""

    model: Nearest


class PcaCandidate(_Candidate, frozen=True, tag="pca"):
    """A candidate of family `pca`."""

    model: Pca


Candidate = (
    CnnCandidate
    | RnnCandidate
    | AutoencoderCandidate
    | DenseCandidate
    | LinearCandidate
    | MajorityCandidate
    | NaiveCandidate
    | NearestCandidate
    | PcaCandidate
)
BASELINE_FAMILIES = ("majority", "linear", "naive", "nearest", "pca")
"""They serve as a measure and are never chosen."""
UNTRAINED_FAMILIES = ("majority", "naive", "nearest", "pca")
"""Nothing in them is learned by gradient steps: epochs must be 0."""
BASELINES = {
    "classification": ("majority", "linear"),
    "regression": ("majority", "linear"),
    "forecasting": ("naive", "linear"),
    "anomaly": ("pca",),
}
"""What must be among the candidates, by task: the gate compares every model with them."""


class Combination(NamedTuple):
    """One row: a family on one kind of data, for one task.

    Attributes:
        family: As in `candidates.<name>.family`.
        payload: What a sample is: `image`, `text` or `series`.
        task: As in data.task.
        windowed: Whether samples are windows over series (data.windows).
        reads: Which kind of input the family gets.
        side: Whether side features change its answer; others take them and pay no attention.
    """

    family: str
    payload: str
    task: str
    windowed: bool
    reads: InputKind
    side: bool


TRAINED = ("cnn", "rnn", "autoencoder", "dense", "linear")
SIDE_BLIND = ("majority", "naive", "nearest", "pca")
FAMILIES: dict[tuple[str, str, bool], tuple[str, ...]] = {
    ("image", "classification", False): (*TRAINED, "majority"),
    ("text", "classification", False): (*TRAINED, "majority"),
    ("text", "regression", False): (*TRAINED, "majority"),
    ("series", "classification", False): (*TRAINED, "majority", "nearest"),
    ("series", "regression", False): (*TRAINED, "majority"),
    ("series", "regression", True): (*TRAINED, "majority"),
    ("series", "forecasting", True): (*TRAINED, "majority", "naive"),
    ("series", "anomaly", True): ("autoencoder", "pca"),
}
"""(payload, task, windowed) to the families that can be asked."""


def input_kind(family: str, payload: str) -> InputKind:
    """Return which kind of input a family reads on a kind of data.

    Args:
        family: Name of the file in `pipeline/models`.
        payload: `image`, `text` or `series`.
    """
    if payload == "image":
        return "vector" if family == "dense" else "image"
    if payload == "text":
        return "tokens" if family in ("cnn", "rnn", "autoencoder") else "bag"
    return "series"


COMBINATIONS = tuple(
    Combination(
        family,
        payload,
        task,
        windowed,
        input_kind(family, payload),
        family not in SIDE_BLIND and task != "anomaly",
    )
    for (payload, task, windowed), families in FAMILIES.items()
    for family in families
)
"""Every row there is."""


NEED_HISTORY = ("cnn", "rnn", "autoencoder", "naive", "pca")
"""Families that need data.windows.length >= 1; the others can answer from what is known about the step."""


def supports(family: str, payload: str, task: str, *, windowed: bool) -> bool:
    """Return whether a family works with a kind of data and a task.

    Args:
        family: As in `candidates.<name>.family`.
        payload: `image`, `text` or `series`.
        task: As in data.task.
        windowed: Whether data.windows is set.
    """
    return family in FAMILIES.get((payload, task, windowed), ())


def what_works(payload: str, task: str, *, windowed: bool) -> str:
    """Return what to do instead, as the end of a message.

    Args:
        payload: `image`, `text` or `series`.
        task: As in data.task.
        windowed: Whether data.windows is set.
    """
    families = FAMILIES.get((payload, task, windowed))
    if families:
        return f"Expected one of {', '.join(families)}. Choose another family, or remove the candidate."
    others = [
        f"{possible}{' with data.windows' if windows else ''}"
        for kind, possible, windows in FAMILIES
        if kind == payload
    ]
    return f"No family does. Expected for {payload}: {', '.join(others)}. Change data.task or data.windows."


READS = {
    "image": "pixels",
    "vector": "hand-made features",
    "tokens": "ids of words or characters, in order",
    "bag": "weighted n-grams",
    "series": "steps",
}
HEADINGS = ("data", "task", "family", "reads", "side features")
INTRODUCTION = """# What works with what

Every row is built, trained and saved by a test (tests/models/test_combinations.py). Made by
`python -m pipeline.settings.families` from the table in pipeline/settings/families.py: change it there.

Side features are numbers and categories beside the main input: columns of a table, calendar, values known in
advance. `joined`: they meet the last layer (families dense and linear: the first). `not used`: the baseline
answers from the main input alone, and the autoencoder reconstructs nothing else.
"""


def as_markdown(combinations: Sequence[Combination] = COMBINATIONS) -> str:
    """Return the content of docs/combinations.md."""
    rows = [
        (
            f"{row.payload}, windows" if row.windowed else row.payload,
            row.task,
            row.family,
            READS[row.reads],
            "joined" if row.side else "not used",
        )
        for row in combinations
    ]
    lines = [HEADINGS, tuple("---" for _ in HEADINGS), *rows]
    return INTRODUCTION + "\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


if __name__ == "__main__":
    Path("docs/combinations.md").write_text(as_markdown(), encoding="utf-8")
