"""`millrace report`: show how the last run ended."""

import argparse

from pipeline.runtime import paths
from pipeline.runtime.errors import say
from pipeline.runtime.files import read_json

HELP = "show how the last run ended"
RECORDED = False


def add_arguments(_parser: argparse.ArgumentParser) -> None:
    """Add no option: there is none."""


def run(_options: argparse.Namespace) -> None:
    """Run the command."""
    from pipeline.reports.console import print_report

    print_report()
    status = paths.STATE_DIR / "status.json"
    last = read_json(status) if status.is_file() else {"exit_code": 0}
    if last["exit_code"]:
        say(
            f"Older than your last attempt, which stopped at {last['stage']} with exit code {last['exit_code']}:\n"
            f"{last['message']}"
        )
