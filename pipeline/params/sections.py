"""The sections of params.yaml as frozen, strict structs; `pipeline/params/load.py` puts them together.

What only one kind of data needs is a block of its own that may be absent: absent means not used, and nothing in
it has a default (docs/decisions/0004). Families and their settings are in `pipeline/params/families.py`.
"""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field

Count = Annotated[int, Meta(ge=1)]
Natural = Annotated[int, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, lt=1)]
"""A part of a whole, 0 included, 1 excluded."""
Positive = Annotated[float, Meta(gt=0)]
NotNegative = Annotated[float, Meta(ge=0)]
Activation = Literal["relu", "sigmoid", "tanh"]
Name = Annotated[str, Meta(min_length=1)]


class Section(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A block of params.yaml: immutable, and closed to names it does not know."""


WITH_CLASSES = ("classification", "multilabel")
"""Tasks whose answers are names: one of each sample, or any number of them."""
CLASS_BOUNDS = ("min_samples_per_class", "max_class_ratio", "max_label_conflicts")
"""Of `validate`: those that say something about classes, and nothing where there are none."""

IsoTime = Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2})?)?$")]


class DefectPolicy(Section, frozen=True):
    """What happens to an image that is not as expected; every case is counted in the ingest report."""

    size: Literal["convert", "reject"]
    mode: Literal["convert", "reject"]
    exif_rotation: Literal["convert", "reject"]
    undecodable: Literal["reject", "fail"]
    frames: Literal["first", "reject"] | None = None
    """Of animations and files with pages; null takes the first, too."""


class Windows(Section, frozen=True):
    """Windows over series with time stamps: what a model sees of the past, and what it must say."""

    length: Natural
    """Steps of history; 0 for none."""
    horizon: Natural
    """Steps ahead; 0 for task anomaly, which looks at the window itself."""
    stride: Count
    """Steps from one window to the next."""
    targets: tuple[Name, ...]
    """Columns to predict; () for task anomaly."""
    known: tuple[Name, ...]
    """Columns known in advance: their value at the first target step is a side feature."""
    known_categorical: tuple[Name, ...]
    """The same, for columns whose numbers are names of categories."""
    calendar: tuple[Literal["hour", "weekday", "month", "day_of_year"], ...]
    """What of the first target step's time stamp is a side feature."""


class LabelledWindows(Section, frozen=True):
    """Windows cut out of recordings whose steps have classes (option step_label of the source): each is a sample."""

    length: Count
    """Steps of a window."""
    stride: Count
    """Steps from one window to the next; below `length` they overlap."""
    label: Literal["majority", "last"]
    """Class of a window: the most frequent one of its steps, or that of the last."""


class Data(Section, frozen=True):
    """How raw samples become one canonical data set."""

    task: Literal["classification", "multilabel", "regression", "forecasting", "anomaly"]
    """`multilabel`: classification where a sample may have several labels, or none."""
    max_rejected_share: Share
    limit_per_class: Count | None
    image_size: tuple[Count, Count] | None = None
    channels: Literal[1, 3] | None = None
    grey_range: tuple[float, float] | None = None
    """Values of grey images of more than 8 bits that become black and white; null: 0 and 65535, and no floats."""
    resize: Literal["stretch", "pad", "crop"] | None = None
    """Images must have it."""
    policy: DefectPolicy | None = None
    """Images must have it."""
    positive_class: str | None = None
    """Of two classes the one that a decision threshold is chosen for; None: the rarer one."""
    windows: Windows | None = None
    labelled_windows: LabelledWindows | None = None


class Validate(Section, frozen=True):
    """Bounds the data must keep before anything is trained on it."""

    max_duplicate_share: Share
    min_samples_per_class: Count | None = None
    """Classes must have it."""
    max_class_ratio: Annotated[float, Meta(ge=1)] | None = None
    """Classes must have it."""
    max_label_conflicts: Natural | None = None
    """Classes must have it."""
    near_hash_distance: Annotated[int, Meta(ge=0, le=16)] | None = None
    """Images must have it."""
    near_pixel_difference: Share | None = None
    """Images must have it."""
    near_text_similarity: Annotated[float, Meta(gt=0, le=1)] | None = None
    """Texts must have it."""
    near_series_distance: NotNegative | None = None
    """Series must have it; those that windows slide over and that are cut by time have no use for it."""


class Split(Section, frozen=True):
    """Who trains, who chooses, who judges."""

    method: Literal["stratified", "given", "group", "time"]
    val_share: Share
    test_share: Share
    salt: str
    val_start: IsoTime | None = None
    test_start: IsoTime | None = None
    test_end: IsoTime | None = None
    embargo: Natural = 0
    """Steps (windowed data) or samples left out between train and val, and between val and test."""


class AcceptedFinding(Section, frozen=True):
    """A finding of the leak gate that a person signs off, as far as it went then."""

    finding: Name
    up_to: NotNegative
    """Number of samples, or the score (of a column its AUC or R2); the refusal prints it. Above it is refused."""
    reason: Annotated[str, Meta(min_length=10)]


class Leaks(Section, frozen=True):
    """When the leak gate refuses a split."""

    max_single_score: Annotated[float, Meta(gt=0.5, le=1)]
    accepted: tuple[AcceptedFinding, ...]


class TextFeatures(Section, frozen=True):
    """How texts become numbers: ids of words or characters in order, and a bag of weighted n-grams."""

    unit: Literal["words", "characters"]
    lowercase: bool
    digits_alike: bool
    """Whether every digit is read as 0."""
    vocabulary_size: Annotated[int, Meta(ge=3)]
    min_count: Count
    max_tokens: Count
    vectors: str | None
    word_ngrams: tuple[Count, Count]
    char_ngrams: tuple[Count, Count] | None
    bag_size: Count
    max_bag: Count
    vectors_sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")] | None = None
    """Of the file of vectors: DVC does not know it, and another content must give another run."""


class SeriesFeatures(Section, frozen=True):
    """How series are scaled, and how many steps of them a model sees."""

    scaling: Literal["channel", "series", "none"]
    max_length: Count | None


class SideSettings(Section, frozen=True):
    """How categories among the side features become numbers."""

    categories: Literal["one_hot", "embedded"]
    max_categories: Annotated[int, Meta(ge=2)]


class PretrainedFeatures(Section, frozen=True):
    """Weights that others trained, for candidates of family `pretrained`: a file that `millrace weights add` made."""

    file: Name
    """Relative to the project: data/weights/NAME."""
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
    """Of the file: another content must give another run."""


class Features(Section, frozen=True):
    """Hand-made image features, for candidates of family `dense` (and nobody else); texts, series, side."""

    groups: tuple[Literal["colour", "texture", "edges"], ...] = ()
    edge_cell_px: Annotated[int, Meta(ge=2)] | None = None
    """Images must have it."""
    colour_bins: Annotated[int, Meta(ge=2, le=64)] | None = None
    """Images must have it."""
    text: TextFeatures | None = None
    series: SeriesFeatures | None = None
    side: SideSettings | None = None
    pretrained: PretrainedFeatures | None = None


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
    monitor: str
    """`val_loss`, or `val_` and a metric of the task that needs answers alone, see `metrics.monitors.monitors_of`."""
    loss: Literal["auto", "cross_entropy", "focal", "mse", "mae", "huber"]
    class_weights: Literal["none", "balanced"]
    min_steps: Natural = 0
    """Of all epochs together: where there are fewer, each epoch passes over the data several times; 0: it does not."""
    augment: Augment | None = None
    """Images only."""
    test_time_flip: bool = False
    """Images only."""
    workers: Count | UnsetType = UNSET
    """Processes that share one training; left out, it is one, and no file says anything of it."""


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
    space: Space = field(default_factory=dict)


class Anomaly(Section, frozen=True):
    """From reconstruction errors to alarms."""

    quantile: Annotated[float, Meta(gt=0.5, le=1)]
    """Of the errors on normal validation windows; above it is an alarm."""
    factor: Positive
    """The threshold is this many times the quantile."""
    smoothing_steps: Count
    """Errors are averaged over so many windows; 1 for none."""
    merge_steps: Natural
    """Alarms closer than this are one event."""


class Reduce(Section, frozen=True):
    """What the `reduce` stage compares: codes of autoencoders, PCA, SVD and t-SNE."""

    dimensions: Annotated[tuple[Count, ...], Meta(min_length=1)]
    export: Count
    """Which of the dimensions goes to data/reduce/codes.parquet."""
    units: tuple[Count, ...]
    """Layers of the encoder; the decoder mirrors them."""
    activation: Activation
    epochs: Count
    batch_size: Count
    learning_rate: Positive
    max_rows: Annotated[int, Meta(ge=50)]
    """Test samples that are compared by neighbourhoods and drawn."""
    neighbours: Count
    tsne: bool


class Select(Section, frozen=True):
    """How sure a choice must be, and what becomes of the chosen candidate."""

    min_val_units: Natural
    """Independent rows of validation (groups, clusters of copies) with which it alone chooses; below, folds do."""
    folds: Annotated[int, Meta(ge=2, le=20)]
    repeats: Annotated[int, Meta(ge=1, le=20)]
    refit: bool
    """Train the chosen candidate and the baselines again, with the rows of validation."""
    temperature: bool
    """Classes and labels: scale the logits of the chosen candidate and the baselines."""
    ensemble: tuple[Name, ...] | None = None
    """Candidates whose answers are averaged: one candidate more, by the name `ensemble`."""


class Evaluate(Section, frozen=True):
    """How the chosen model is judged."""

    select_by: Name
    """A metric of the task, see `metrics.names.metrics_of`."""
    # `checks.rules` demands more of both, by name and with the reason: [0.9, 1), and 10 / (1 - confidence).
    bootstrap_resamples: Annotated[int, Meta(ge=100)]
    confidence: Annotated[float, Meta(gt=0.5, lt=1)]
    calibration_bins: Annotated[int, Meta(ge=2)]
    anomaly: Anomaly | None = None
    season: Count | None = None
    """Forecasting and regression: steps of the seasonal naive forecast in MASE; None leaves MASE out."""


Tolerance = Annotated[float, Meta(ge=0, le=0.5)]
"""More than half of what the champion can do is no tolerance."""
Budget = Annotated[float, Meta(gt=0, le=1e6)]
"""Finite: an infinite budget would be none, and null says that better."""


class Register(Section, frozen=True):
    """Under which name, and on what terms, a model becomes champion.

    What may be absent is not demanded. No value switches the gate off: each range ends where a demand would be
    empty.
    """

    model_name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    experiment: Annotated[str, Meta(min_length=1)]
    mode: Literal["superiority", "non_inferiority"]
    margin: Share
    min_rows: Annotated[int, Meta(ge=30)]
    """Test rows that no model was trained on or chosen by; see `gate.question.SMALLEST_NUMBER_OF_ROWS`."""
    min_support: Annotated[int, Meta(ge=10, le=1000)]
    """Test rows by which a class or a slice is judged; see `gate.question.SMALLEST_SUPPORT`."""
    uncommitted: Annotated[str, Meta(min_length=1, max_length=500)] | None
    """Why a model may become champion although no commit holds what it came from; recorded with it."""
    non_inferiority_margin: Annotated[float, Meta(gt=0, le=0.1)] | None = None
    """Mode non_inferiority must have it."""
    floors: Annotated[dict[Name, float], Meta(min_length=1)] | None = None
    """Mode non_inferiority must have them: what is not worse than the last may be worse than wanted."""
    class_tolerance: Tolerance | None = None
    """Classification must have it."""
    slices: Annotated[tuple[Name, ...], Meta(min_length=1)] | None = None
    slice_tolerance: Tolerance | None = None
    """Slices must have it."""
    calibration_budget: Tolerance | None = None
    """Classification must have it."""
    max_size_mib: Budget | None = None
    max_latency_ms: Budget | None = None
    baselines_may_win: bool | None = None
    """Whether a baseline may be chosen and become champion; null: it may."""
