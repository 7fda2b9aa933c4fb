"""Every family of models: its settings, what it reads, and with which kind of data and task it works.

The one table of families is `FAMILIES`; no TensorFlow is needed to ask it. `millrace check` refuses what is not in it,
a test builds and trains every row, and `python -m pipeline.params.families` writes docs/combinations.md.

A setting that only some data or tasks know has a default that means "not used"; it is not handed to the
family then, and `pipeline/checks/contradictions.py` says where it is missing or of no effect.
"""

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from msgspec import Meta, Struct, defstruct

from pipeline.params.sections import (
    Activation,
    Count,
    Natural,
    NotNegative,
    Positive,
    Section,
    Share,
    TuneOverride,
)

Question = tuple[str, str, bool]


class _Settings(Section, frozen=True, kw_only=True, omit_defaults=True):
    output_activation: Literal["linear", "tanh"] = "linear"
    """Of regression and forecasting."""


class _Fused(_Settings, frozen=True, kw_only=True):
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
    shortcuts: bool = False
    """What goes into a block is added to what comes out of its convolutions (ResNet); padding `same`."""
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


class Linear(_Settings, frozen=True, kw_only=True):
    """Settings of family `linear`: softmax or linear regression at its optimum, a baseline every model must beat.

    Of several labels one logistic regression each (one against the rest).
    """

    last_value_residual: bool = False
    """Forecasting: predict the change from the last value."""
    per_channel: bool = False
    """Forecasting: one map for all channels, each from its own past."""
    l2: NotNegative | None = None
    """A penalty that is fixed; null chooses it on the training rows."""


class Boosting(Section, frozen=True, kw_only=True):
    """Settings of family `boosting`: gradient-boosted trees on hand-made features, lags and side features."""

    iterations: Count
    """At most; how many is chosen on the training rows. Of several classes each adds a tree per class."""
    leaves: Annotated[int, Meta(ge=2, le=64)]
    """Of a tree, at most."""
    learning_rate: Positive
    """By which each tree is shrunk."""
    min_samples_leaf: Count
    """Training rows in a leaf, at least."""


class Majority(Section, frozen=True):
    """Family `majority` has no settings: it answers with the class shares, or the mean, of the training set.

    Of several labels with the share of samples that have each.
    """


class Naive(Section, frozen=True):
    """Settings of family `naive`: forecasts repeat the past."""

    season: Count | None = None
    """Steps back; 1 repeats the last value; null chooses it on the training windows."""


class Nearest(Section, frozen=True):
    """Family `nearest` has no settings: the classes of the nearest training series, whose number is chosen there."""


class Pretrained(_Settings, frozen=True, kw_only=True):
    """Settings of family `pretrained`: a head on what the trunk of features.pretrained makes of images or texts."""

    bag: bool = False
    """Texts: the head also reads the bag of n-grams that `linear` reads."""
    units: tuple[Count, ...]
    """Width of each dense layer before the output; [] for a linear head."""
    activation: Activation
    dropout: Share
    l2: NotNegative


class Pca(Section, frozen=True):
    """Settings of family `pca`: reconstruction from principal components."""

    codes: Count


class Rocket(Section, frozen=True):
    """Settings of family `rocket`: shares of steps above a bias after fixed kernels, then a ridge (MiniRocket)."""

    features: Annotated[int, Meta(ge=84)]
    """Multiples of 84; 9996 in the paper."""


class Ridge(Section, frozen=True):
    """Settings of family `ridge`: forecasts by one linear map from the past of each channel, solved."""

    look_backs: Annotated[tuple[Count, ...], Meta(min_length=1)]
    """Steps of the past; the last part of train says which of them, and which penalty, answers best."""


class Kmeans(Section, frozen=True):
    """Settings of family `kmeans`: distance to the nearest window centre."""

    clusters: Count


class Polynomial(Section, frozen=True):
    """Settings of family `polynomial`: what a polynomial in time leaves of a window."""

    degree: Natural


class Family(NamedTuple):
    """What parameters, and what makes a model's inputs, must know about a family beside `build` in its file.

    Attributes:
        settings: Of `candidates.<name>.model`.
        answers: Of `QUESTIONS`, those it can be asked.
        image: What it reads of images: pixels (`image`), or hand-made features (`vector`).
        image_regression: The same, where a number is asked: a linear map of colours and edges is the measure of the
            field, one of pixels is none.
        text: What it reads of texts: `tokens` in their order, a `bag` of n-grams, or the `pieces` that pretrained
            vectors know.
        trained: Whether it learns by gradient steps; if not, its epochs must be 0.
        baseline: Whether it serves as a measure; register.baselines_may_win says whether it may be chosen.
        blind: Whether it answers without looking at what it is asked about: the least that a model must beat.
        needs_history: Whether it needs data.windows.length >= 1; others can answer from what is known about the step.
        side: Whether side features change its answer; if not, it takes them and pays no attention.
        frozen: Whether it learns from what the trunk of features.pretrained made of every sample once.
        logits: Whether its probabilities come from logits, which a temperature can divide.
    """

    settings: type[Section]
    answers: tuple[Question, ...]
    image: Literal["image", "vector"] = "image"
    image_regression: Literal["image", "vector"] = "image"
    text: Literal["tokens", "bag", "pieces"] = "tokens"
    trained: bool = True
    baseline: bool = False
    blind: bool = False
    needs_history: bool = False
    side: bool = True
    frozen: bool = False
    logits: bool = True


QUESTIONS: tuple[Question, ...] = (
    ("image", "classification", False),
    ("image", "regression", False),
    ("image", "multilabel", False),
    ("text", "classification", False),
    ("text", "multilabel", False),
    ("text", "regression", False),
    ("series", "classification", False),
    ("series", "multilabel", False),
    ("series", "regression", False),
    ("series", "regression", True),
    ("series", "forecasting", True),
    ("series", "anomaly", True),
)
"""What a sample is, data.task, and whether samples are windows over series (data.windows)."""
FORECASTING, ANOMALY = QUESTIONS[-2:]
ALL_BUT_ANOMALY = QUESTIONS[:-1]
TABLES = tuple(
    question
    for question in QUESTIONS
    if question[0] != "text" and question[1] in ("classification", "regression")
)
"""One class or one row of numbers from numbers that stand side by side."""
FAMILIES = {
    "cnn": Family(Cnn, ALL_BUT_ANOMALY, needs_history=True),
    "rnn": Family(Rnn, ALL_BUT_ANOMALY, needs_history=True),
    "autoencoder": Family(Autoencoder, QUESTIONS, needs_history=True),
    "dense": Family(Dense, ALL_BUT_ANOMALY, image="vector", image_regression="vector", text="bag"),
    "linear": Family(
        Linear, ALL_BUT_ANOMALY, image_regression="vector", text="bag", trained=False, baseline=True
    ),
    "boosting": Family(
        Boosting, TABLES, image="vector", image_regression="vector", trained=False, baseline=True
    ),
    "majority": Family(
        Majority, ALL_BUT_ANOMALY, text="bag", trained=False, baseline=True, blind=True, side=False
    ),
    "naive": Family(
        Naive, (FORECASTING,), trained=False, baseline=True, blind=True, needs_history=True, side=False
    ),
    "nearest": Family(
        Nearest,
        (("series", "classification", False),),
        trained=False,
        baseline=True,
        side=False,
        logits=False,
    ),
    "pretrained": Family(
        Pretrained,
        tuple(question for question in QUESTIONS if question[0] in ("image", "text")),
        text="pieces",
        frozen=True,
    ),
    "pca": Family(Pca, (ANOMALY,), trained=False, baseline=True, needs_history=True, side=False),
    "rocket": Family(
        Rocket,
        QUESTIONS[QUESTIONS.index(("series", "classification", False)) : -2],
        trained=False,
        needs_history=True,
        side=False,
    ),
    "ridge": Family(Ridge, (FORECASTING,), trained=False, needs_history=True, side=False),
    "kmeans": Family(Kmeans, (ANOMALY,), trained=False, needs_history=True, side=False),
    "polynomial": Family(Polynomial, (ANOMALY,), trained=False, needs_history=True, side=False),
}
"""Every family there is, by the name of its file in `pipeline/models`: a new one has its settings above, and a row."""
BASELINE_FAMILIES = tuple(name for name, family in FAMILIES.items() if family.baseline)
UNTRAINED_FAMILIES = tuple(name for name, family in FAMILIES.items() if not family.trained)
BASELINES = {
    "classification": ("majority", "linear"),
    "multilabel": ("majority", "linear"),
    "regression": ("majority", "linear"),
    "forecasting": ("naive", "linear"),
    "anomaly": ("pca",),
}
"""What must be among the candidates, by task: the gate compares every model with them."""


def measures_of_champion(chosen: str, families: Mapping[str, str]) -> tuple[list[str], list[str] | None]:
    """Return the baselines that a chosen candidate must beat, and those that must only not be better than it.

    What is no baseline must beat them all. A baseline is not compared with itself: it must beat those that are blind,
    and no other may be better. One that is blind itself, or meets no blind one, must beat all others.

    Args:
        chosen: Its name.
        families: Candidate to family.

    Returns:
        Names of those to beat; and of the others, None where the candidate is no baseline.
    """
    others = [name for name, family in families.items() if family in BASELINE_FAMILIES and name != chosen]
    blind = [name for name in others if FAMILIES[families[name]].blind]
    family = FAMILIES.get(families.get(chosen, ""))
    if family is None or not family.baseline:  # the first: an ensemble
        return others, None
    if family.blind or not blind:
        return others, []
    return blind, [name for name in others if name not in blind]


class _Candidate(Section, frozen=True, tag_field="family"):
    """A model to be trained, told by its family."""

    training: dict[str, Any]
    """Keys of the `training` section that this candidate sets differently."""
    tune: TuneOverride
    if TYPE_CHECKING:
        model: Section


if TYPE_CHECKING:
    Candidate = _Candidate
else:  # a struct for each family, told apart by its tag
    Candidate = reduce(
        or_,
        (
            defstruct(
                f"{name.title()}Candidate",
                [("model", family.settings)],
                bases=(_Candidate,),
                namespace={"__doc__": f"A candidate of family `{name}`."},
                module=__name__,
                frozen=True,
                tag=name,
            )
            for name, family in FAMILIES.items()
        ),
    )


def family_of(candidate: Struct) -> str:
    """Return the name of a candidate's family."""
    return str(candidate.__struct_config__.tag)


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
    reads: str
    side: bool


def input_kind(
    family: str, payload: str, task: str = "classification"
) -> Literal["image", "vector", "tokens", "bag", "pieces", "series"]:
    """Return which kind of input a family reads on a kind of data.

    Args:
        family: Name of the file in `pipeline/models`; of one that is gone (a champion's) the usual is said.
        payload: `image`, `text` or `series`.
        task: As in data.task.
    """
    row = FAMILIES.get(family, FAMILIES["cnn"])
    if payload == "image":
        return row.image_regression if task == "regression" else row.image
    return row.text if payload == "text" else "series"


COMBINATIONS = tuple(
    Combination(name, *question, input_kind(name, *question[:2]), family.side and question != ANOMALY)
    for question in QUESTIONS
    for name, family in FAMILIES.items()
    if question in family.answers
)
"""Every row there is."""


def supports(family: str, payload: str, task: str, *, windowed: bool) -> bool:
    """Return whether a family works with a kind of data and a task.

    Args:
        family: As in `candidates.<name>.family`.
        payload: `image`, `text` or `series`.
        task: As in data.task.
        windowed: Whether data.windows is set.
    """
    return family in _families((payload, task, windowed))


def what_works(payload: str, task: str, *, windowed: bool) -> str:
    """Return what to do instead, as the end of a message.

    Args:
        payload: `image`, `text` or `series`.
        task: As in data.task.
        windowed: Whether data.windows is set.
    """
    families = _families((payload, task, windowed))
    if families:
        return f"Expected one of {', '.join(families)}. Choose another family, or remove the candidate."
    others = [
        f"{possible}{' with data.windows' if windows else ''}"
        for kind, possible, windows in QUESTIONS
        if kind == payload
    ]
    return f"No family does. Expected for {payload}: {', '.join(others)}. Change data.task or data.windows."


def _families(question: Question) -> list[str]:
    return [name for name, family in FAMILIES.items() if question in family.answers]


READS = {
    "image": "pixels",
    "vector": "hand-made features",
    "tokens": "ids of words or characters, in order",
    "bag": "weighted n-grams",
    "pieces": "ids of what pretrained vectors know, and weighted n-grams",
    "series": "steps",
}
HEADINGS = ("data", "task", "family", "reads", "side features")
INTRODUCTION = """# What works with what

Every row is built, trained and saved by a test (tests/models/test_combinations.py). Made by
`python -m pipeline.params.families` from the table in pipeline/params/families.py: change it there.

Side features are numbers and categories beside the main input: columns of a table, calendar, values known in
advance. `joined`: they meet the last layer (families dense, linear and boosting: the first). `not used`: the baseline
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
