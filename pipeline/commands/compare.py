"""`millrace compare A B`: two models side by side, on the same rows where that is possible."""

import argparse
import json
from contextlib import ExitStack
from pathlib import Path

from pipeline.params.load import load_params
from pipeline.runtime.errors import say
from pipeline.serving.model_folder import absolute_path, named_model

HELP = "two models side by side: scores on the same test rows with the interval of the difference, params, data, code"
RECORDED = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    text = "MODEL, MODEL/VERSION or MODEL@ALIAS, or a folder like models/best"
    parser.add_argument("first", metavar="A", type=named_model, help=text)
    text = "the same (default: this project's champion)"
    parser.add_argument("other", nargs="?", default="", metavar="B", type=named_model, help=text)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--page", type=absolute_path, metavar="FILE", help="also as an HTML page")


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    params = load_params()
    from pipeline.inference import backend

    backend.prepare_tensorflow(params.threads, params.seed)
    from pipeline.evaluation.measures import Yardstick
    from pipeline.versions.fetched import whole_model
    from pipeline.versions.side_by_side import lines_of, side_by_side, write_page

    settings = params.evaluate
    yardstick = Yardstick.of(
        settings.calibration_bins, params.data.positive_class, settings.anomaly, settings.select_by
    )
    with ExitStack() as stack:
        first, other = (
            stack.enter_context(whole_model(Path.cwd(), named, params.register.model_name))
            for named in (options.first, options.other)
        )
        content = side_by_side(
            first,
            other,
            yardstick,
            resamples=settings.bootstrap_resamples,
            confidence=settings.confidence,
            seed=params.seed,
        )
    if options.page is not None:
        write_page(options.page, content)
    if options.json:
        say(json.dumps(content, sort_keys=True, indent=2, ensure_ascii=False))
        return
    for line in lines_of(content):
        say(line)
    if options.page is not None:
        say(f"page: {options.page}")
