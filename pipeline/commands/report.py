"""`millrace report`: show how the last run ended."""

import argparse
import json

from pipeline.runtime import paths
from pipeline.runtime.errors import say
from pipeline.runtime.files import read_json

HELP = "show how the last run ended"
RECORDED = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "--ending", action="store_true", help="only the verdict, the page, the dashboard and the next command"
    )
    parser.add_argument(
        "--json", action="store_true", help="candidates, choice, decision and links as one object"
    )


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from pipeline.reports.console import print_ending, print_report, report_content

    if options.ending:
        print_ending()
        return
    status = paths.STATE_DIR / "status.json"
    last = read_json(status) if status.is_file() else {"exit_code": 0}
    if options.json:
        say(
            json.dumps(
                {**report_content(), "last_attempt": last}, sort_keys=True, indent=2, ensure_ascii=False
            )
        )
        return
    print_report()
    if last["exit_code"]:
        say(
            f"Older than your last attempt, which stopped at {last['stage']} with exit code {last['exit_code']}:\n"
            f"{last['message']}"
        )
