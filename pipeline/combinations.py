"""Which family of models works with which kind of data and task: the one table that all others follow.

`millrace check` refuses what is not in it, a test builds and trains every row, and
`python -m pipeline.combinations` writes it to docs/combinations.md. No TensorFlow is needed to ask.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pipeline.specs import InputKind, input_kind


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

Every row is built, trained and saved by a test (tests/models/test_combinations.py), and reads the same from files,
fitted state and a single record (tests/test_inputs.py). Made by `python -m pipeline.combinations` from the table in
pipeline/combinations.py: change it there.

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
