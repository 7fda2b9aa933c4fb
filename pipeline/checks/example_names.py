"""The names of the examples' models, and what the data of each looks like: no other data may be registered under them.

A registry compares versions of one name. An example that was copied for other data and kept its name would be compared
with models of the example's data, on this machine or in a team's registry, and refused or promoted for nothing.

Data is known by its kind, its size and some of its names, not by a digest: copies of a public set differ in line ends,
and some teams have a part of it.
"""

from typing import NamedTuple

from pipeline.fetching.source import Facts, Source


class ExampleData(NamedTuple):
    """What the data of an example looks like.

    Attributes:
        kind: Of the source.
        counts: Samples; () where parts of it are in use.
        names: Classes, or channels of series, that it has.
    """

    kind: str
    counts: tuple[int, ...] = ()
    names: tuple[str, ...] = ()


OF_MODELS = {
    "banking77": ExampleData("text_table", (13_083, 10_003), ("card_arrival", "Refund_not_showing_up")),
    "banking77-vectors": ExampleData(
        "text_table", (13_083, 10_003), ("card_arrival", "Refund_not_showing_up")
    ),
    "basic-motions": ExampleData("series_archive", (80,), ("standing", "running", "walking", "badminton")),
    "bike-sharing": ExampleData("series_table", (), ("cnt", "hum", "windspeed")),
    "bike-sharing-lags": ExampleData("series_table", (), ("cnt", "hum", "windspeed")),
    "clothing": ExampleData("image_folder", (), ("longsleeve", "outwear", "t-shirt")),
    "clothing-pretrained": ExampleData("image_folder", (), ("longsleeve", "outwear", "t-shirt")),
    "digits": ExampleData("digits"),
    "etth1": ExampleData("series_table", (), ("HUFL", "HULL", "MUFL", "OT")),
    "fashion-mnist": ExampleData("idx", (70_000, 60_000)),
    "indoor-movement": ExampleData("series_files", (314,)),
    "japanese-vowels": ExampleData("series_archive", (640,), tuple("123456789")),
    "joined-intents": ExampleData("text_table", (6_499,)),
    "nab": ExampleData("series_table", (), ("value",)),
    "sms-spam": ExampleData("text_table", (5_574, 5_572), ("ham", "spam")),
    "ucr-series": ExampleData("series_archive"),
}
"""By register.model_name of examples/*.yaml; a test compares the list with the files. Kaggle's copy of the short
messages lacks two of them; of UCR any set may be read under that name, as its example says."""


def other_data_than(model_name: str, source: Source) -> str:
    """Return in words what of a source is not as the example's data that its name stands for; "" if nothing is."""
    expected = OF_MODELS.get(model_name)
    if expected is None:
        return ""
    if source.kind != expected.kind:
        return f"kind={source.kind!r}, not {expected.kind!r}"
    facts = source.facts
    if facts is None:
        return ""  # from before `init` wrote them down
    if expected.counts and source.count not in expected.counts:
        return f"{source.count:,} samples, not {' or '.join(f'{count:,}' for count in expected.counts)}"
    missing = [name for name in expected.names if name.lower() not in _names(facts)]
    return f"none called {missing[0]!r} among its classes or columns" if missing else ""


def _names(facts: Facts) -> set[str]:
    return {name.lower() for name in (*facts.classes, *facts.channels, *facts.side)}
