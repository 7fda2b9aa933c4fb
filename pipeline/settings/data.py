"""Sections of params.yaml about the data: how it is read, judged, split and described.

What only one kind of data needs is a block of its own that may be absent: absent means not used, and
nothing in it has a default (docs/decisions/0004).
"""

from typing import Annotated, Literal

from msgspec import Meta

from pipeline.settings.section import Count, Name, Natural, NotNegative, Section, Share

CLASS_BOUNDS = ("min_samples_per_class", "max_class_ratio", "max_label_conflicts")
"""Of `validate`: those that say something about classes, and nothing where there are none."""

IsoTime = Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2})?)?$")]


class DefectPolicy(Section, frozen=True):
    """What happens to an image that is not as expected; every case is counted in the ingest report."""

    size: Literal["convert", "reject"]
    mode: Literal["convert", "reject"]
    exif_rotation: Literal["convert", "reject"]
    undecodable: Literal["reject", "fail"]


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


class Data(Section, frozen=True):
    """How raw samples become one canonical data set."""

    task: Literal["classification", "regression", "forecasting", "anomaly"]
    max_rejected_share: Share
    limit_per_class: Count | None
    image_size: tuple[Count, Count] | None = None
    channels: Literal[1, 3] | None = None
    resize: Literal["stretch", "pad", "crop"] | None = None
    """Images must have it."""
    policy: DefectPolicy | None = None
    """Images must have it."""
    positive_class: str | None = None
    """Of two classes the one that a decision threshold is chosen for; None: the rarer one."""
    windows: Windows | None = None


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


class SideFeatures(Section, frozen=True):
    """How categories among the side features become numbers."""

    categories: Literal["one_hot", "embedded"]
    max_categories: Annotated[int, Meta(ge=2)]


class Features(Section, frozen=True):
    """Hand-made image features, for candidates of family `dense` (and nobody else); texts, series, side."""

    groups: tuple[Literal["colour", "texture", "edges"], ...] = ()
    edge_cell_px: Annotated[int, Meta(ge=2)] | None = None
    """Images must have it."""
    colour_bins: Annotated[int, Meta(ge=2, le=64)] | None = None
    """Images must have it."""
    text: TextFeatures | None = None
    series: SeriesFeatures | None = None
    side: SideFeatures | None = None
