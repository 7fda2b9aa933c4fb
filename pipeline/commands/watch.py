"""`millrace watch`: a log of predictions against what its model was judged on, and against labels that came later."""

import argparse
import datetime as dt
import json
import re
from pathlib import Path

from pipeline.runtime.errors import WronglyCalled, say
from pipeline.serving.model_folder import absolute_path, named_model, opened

HELP = "what a log of `millrace serve --log` says: drift, confidence, alarms, latency, and live metrics by labels"
RECORDED = False
FOUND = 3
"""Exit code where something drifted, or the primary metric fell."""
AGO = re.compile(r"(\d+)([hd])")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "log", type=absolute_path, metavar="FOLDER", help="what `millrace serve --log` writes to"
    )
    text = "NAME, NAME/VERSION, or the folder of a model that answered (default: the one that answered last)"
    parser.add_argument("model", nargs="?", default="", metavar="MODEL", type=named_model, help=text)
    text = "table of labels that came later (.csv, .tsv, .jsonl, .parquet)"
    parser.add_argument("--labels", type=absolute_path, metavar="FILE", help=text)
    text = "its column of labels (default: label); of several targets or steps once for each (default: their names)"
    parser.add_argument("--label", action="append", default=[], metavar="COLUMN", help=text)
    text = "its column of ids, as the log has them (default: id)"
    parser.add_argument("--id", default="id", metavar="COLUMN", help=text)
    text = (
        "records from then on: 2026-11-29, 2026-11-29T14:00 (UTC, or with an offset), or 24h, 7d before now"
    )
    parser.add_argument("--since", type=_time, metavar="TIME", help=text)
    parser.add_argument("--until", type=_time, metavar="TIME", help="records before then")
    text = "chance of a false alarm of all comparisons together (default: 0.01)"
    parser.add_argument("--significance", type=_share, metavar="P", help=text)
    text = "smallest difference of two distributions that counts, 0 to 1 (default: 0.15)"
    parser.add_argument("--effect", type=_share, metavar="D", help=text)
    parser.add_argument("--json", action="store_true", help="all of it as one JSON object")
    parser.add_argument(
        "--page", type=absolute_path, metavar="FILE", help="also as an HTML page with pictures"
    )


def _share(text: str) -> float:
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"expected a number between 0 and 1, received {text}")
    return value


def _time(text: str) -> int:
    """Return microseconds since 1970."""
    if ago := AGO.fullmatch(text):
        hours = int(ago[1]) * (24 if ago[2] == "d" else 1)
        when = dt.datetime.now(dt.UTC) - dt.timedelta(hours=hours)
    else:
        try:
            when = dt.datetime.fromisoformat(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(
                f"expected a time like 2026-11-29T14:00 or 7d, received {text}"
            ) from error
        when = when.replace(tzinfo=dt.UTC) if when.tzinfo is None else when
    return int(when.timestamp() * 1e6)


def needs_project(_options: argparse.Namespace) -> bool:
    """Return False: the log holds all it takes."""
    return False


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from pipeline.monitoring.found import lines_of
    from pipeline.monitoring.watch import Asked, watch

    if options.label and options.labels is None:
        raise WronglyCalled(
            f"--label says which column of a table holds labels. Expected --labels FILE beside it. Received: --label "
            f"{options.label[0]} alone. Name the file."
        )
    asked = Asked(
        log=options.log,
        model=_model(options.model),
        since=options.since,
        until=options.until,
        labels=options.labels,
        id_column=options.id,
        label_columns=tuple(options.label),
        significance=options.significance,
        effect=options.effect,
    )
    watched = watch(asked)
    if options.page is not None:
        from pipeline.monitoring.page import write_page

        write_page(options.page, watched)
    if options.json:
        print(json.dumps(watched.content, sort_keys=True, allow_nan=False))
    else:
        for line in lines_of(watched):
            say(line)
        if options.page is not None:
            say(f"page: {options.page}")
    if not watched.quiet:
        raise SystemExit(FOUND)
    if watched.untold:
        raise watched.untold


def _model(given: str | Path) -> str:
    """Return how the log knows a model: of a folder the digest of its papers."""
    if not isinstance(given, Path):
        return given
    from pipeline.serving.scorer import papers_digest

    with opened(given) as model:
        return papers_digest(model.folder)
