"""`millrace compare A B`: two models side by side, on the same rows where that is possible."""

import argparse
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.params.load import load_params
from pipeline.runtime.errors import InputMissing, WronglyCalled, say
from pipeline.serving.model_folder import KERAS, SUFFIX, absolute_path, named_model, opened

if TYPE_CHECKING:
    from pipeline.versions.whole import Whole

HELP = "two models side by side: scores on the same test rows with the interval of the difference, params, data, code"
RECORDED = False
PAGE = ".html"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    text = "MODEL, MODEL/VERSION or MODEL@ALIAS, a folder like models/best, or a bundle with --format keras"
    parser.add_argument("first", metavar="A", type=named_model, help=text)
    text = "the same (default: this project's champion)"
    parser.add_argument("other", nargs="?", default="", metavar="B", type=named_model, help=text)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--page", type=absolute_path, metavar="FILE", help="also as an HTML page, with pictures"
    )


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    if options.page is not None and options.page.suffix != PAGE:
        raise WronglyCalled(
            f"The page is HTML. Expected a name that ends in {PAGE}. Received: --page {options.page}. Rename it."
        )
    params = load_params()
    from pipeline.inference import backend

    backend.prepare_tensorflow(params.threads, params.seed)
    from pipeline.evaluation.measures import Yardstick
    from pipeline.evaluation.results import Bootstrap
    from pipeline.versions.side_by_side import Asking, lines_of, side_by_side, write_page

    settings = params.evaluate
    yardstick = Yardstick.of(
        settings.calibration_bins, params.data.positive_class, settings.anomaly, settings.select_by
    )
    bootstrap = Bootstrap(settings.bootstrap_resamples, settings.confidence, params.seed)
    asking = Asking(yardstick, bootstrap, params.register.min_rows, settings.season)
    with ExitStack() as stack:
        first, other = (
            stack.enter_context(_whole(named, params.register.model_name, pictures=options.page is not None))
            for named in (options.first, options.other)
        )
        content = side_by_side(first, other, asking)
        if options.page is not None:
            write_page(options.page, content, (first.pictures_dir, other.pictures_dir))
    if options.json:
        say(json.dumps(content, sort_keys=True, indent=2, ensure_ascii=False))
        return
    for line in lines_of(content):
        say(line)
    if options.page is not None:
        say(f"page: {options.page}")


@contextmanager
def _whole(named: str | Path, default_name: str, *, pictures: bool) -> "Iterator[Whole]":
    """Yield a model with its model.keras; of a bundle too."""
    from pipeline.versions.fetched import whole_model

    if not isinstance(named, Path) or named.suffix != SUFFIX:
        with whole_model(Path.cwd(), named, default_name, pictures=pictures) as model:
            yield model
        return
    with opened(named, with_keras=True) as bundle:
        if not (bundle.folder / KERAS).is_file():
            raise InputMissing(
                f"{named} cannot be compared. Expected a bundle with {KERAS}. Received: none in it. "
                "`millrace export --format keras` makes one."
            )
        given = named.relative_to(Path.cwd()) if named.is_relative_to(Path.cwd()) else named
        with whole_model(Path.cwd(), bundle.folder, default_name) as model:
            yield replace(model, name=bundle.name, version=bundle.version, given=str(given))
