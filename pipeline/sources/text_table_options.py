"""What `millrace init --kind text_table --set name=value` may say about tables of texts."""

from msgspec import Struct

from pipeline.runtime import WronglyCalled
from pipeline.sources.dialects import DelimiterOption, QuotingOption
from pipeline.sources.table_files import FormatOption, Writing
from pipeline.sources.text_file import EncodingOption


class Options(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """Which columns a table has, and how it is written."""

    text: str = "text"
    """Column of texts."""
    label: str = ""
    """Column of class names; every row must have one. `NA` is a class like any other."""
    target: str = ""
    """Column of numbers that regression predicts; every row must have one."""
    group: str = ""
    """Column of persons, machines or documents that a split must not tear apart."""
    time: str = ""
    """Column of times, ISO 8601."""
    side: tuple[str, ...] = ()
    """Columns of further facts about a text: numbers or categories, told apart by their cells."""
    categorical: tuple[str, ...] = ()
    """Those of `side` that are categories although they look like numbers."""
    id: str = ""
    """Column of names kept beside the features as a category, `007` as it stands."""
    files: str = ""
    """Glob that chooses files; "" for all with a known suffix."""
    format: FormatOption = "auto"
    """`auto` goes by the suffix."""
    header: bool = True
    """Whether the first row of a CSV or TSV names the columns; if not, they are called 1, 2, 3."""
    delimiter: DelimiterOption = "auto"
    """Of CSV: auto, comma, tab, semicolon or pipe."""
    quoting: QuotingOption = "auto"
    """`minimal`: fields may stand in double quotes; `none`: a quote is a character like any other."""
    encoding: EncodingOption = "auto"
    """Of CSV and TSV: auto, utf-8, cp1252 or latin-1."""


def writing_of(options: Options) -> Writing:
    """Return what the user stated about how the files are written."""
    return Writing(options.format, options.delimiter, options.quoting, options.encoding, options.header)


def check_options(options: Options) -> None:
    """Refuse options that contradict each other.

    Raises:
        WronglyCalled: Naming all contradictions.
    """
    strangers = [column for column in options.categorical if column not in options.side]
    taken = [column for column in options.side if column in (options.text, options.label, options.target)]
    faults = {
        "no text column is named. Expected --set text=COLUMN": not options.text,
        "nothing to learn is named. Expected --set label=COLUMN, or --set target=COLUMN for regression": not (
            options.label or options.target
        ),
        f"categorical names {', '.join(strangers)}. Expected columns that side names too": strangers,
        f"side names {', '.join(taken)}. Expected columns other than text, label and target": taken,
    }
    problems = [message for message, fault in faults.items() if fault]
    if problems:
        received = ", ".join(
            f"{name}={value!r}"
            for name in ("text", "label", "target", "side", "categorical")
            if (value := getattr(options, name))
        )
        raise WronglyCalled(
            f"The options of kind text_table do not fit together: {'; '.join(problems)}. Received: {received}. "
            "Give them to `millrace init` again."
        )
