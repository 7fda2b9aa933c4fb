"""A simulated month of nights: `python -m tests.e2e.simulated_month FOLDER` (an empty one), about 45 minutes.

Prints a line per night, checks each against tests/e2e/month_plan.py and the whole at the end, and leaves the history
page in FOLDER/project/.millrace/retrain/history.html. `--nights 3` stops earlier. Exit code 1 if anything is not
as planned.
"""

import argparse
import datetime as dt
import json
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

from tests.e2e.clones import environment, processes_of
from tests.e2e.growing_source import command, git, history
from tests.e2e.month_plan import PLAN, Night
from tests.e2e.month_world import World

LONGEST_SECONDS = 3600


def month(base: Path, nights: int) -> list[str]:
    """Live through a month; return what was not as planned."""
    world = World(base)
    problems: list[str] = []
    try:
        for number, night in enumerate(PLAN[:nights], 1):
            started = time.monotonic()
            found = one_night(world, night)
            entry = history(world.project)[-1]
            print(
                f"{number:2d} {world.today:%Y-%m-%d} {night.story}: {entry['outcome']} "
                f"({time.monotonic() - started:.0f} s) {' '.join(entry['reasons'])[:150]}",
                flush=True,
            )
            problems += [f"night {number} ({night.story}): {problem}" for problem in found]
            world.today += dt.timedelta(days=1)
        problems += at_the_end(world)
    finally:
        world.close()
    return problems


def one_night(world: World, night: Night) -> list[str]:
    """Run one night; return what is not as planned."""
    night.before(world)
    before = len(history(world.project))
    problems = []
    if night.kill_after is not None:
        problems += kill(world, night, *night.kill_after)
    code = finish(start(world, night))
    entries = history(world.project)[before:]
    if code not in night.codes:
        problems.append(f"exit code {code}, expected one of {night.codes}; see {log_of(world)}")
    if len(entries) != 1:
        return [*problems, f"{len(entries)} entries in the history, expected 1"]
    if entries[0]["outcome"] not in night.outcomes:
        problems.append(f"outcome {entries[0]['outcome']}, expected one of {night.outcomes}")
    fired = [item["name"] for item in entries[0]["triggers"] if item["fired"]]
    if night.fired and night.fired not in fired:
        problems.append(f"triggers {fired}, expected {night.fired}")
    return problems


def kill(world: World, night: Night, step: str, seconds: float) -> list[str]:
    """Start a retrain and kill it behind a step; return what it left running."""
    journal = world.project / ".millrace/retrain/journal.jsonl"
    journal.unlink(missing_ok=True)
    process = start(world, night)
    while process.poll() is None and step not in steps_in(journal):
        time.sleep(0.02)
    time.sleep(seconds)
    if process.poll() is not None:
        return [f"was over ({process.returncode}) before it could be killed behind {step}"]
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(1)
    left = processes_of(world.project)
    return [f"left running: {left}"] if left else []


def steps_in(journal: Path) -> list[str]:
    """Return the finished steps in a journal."""
    text = journal.read_text() if journal.exists() else ""
    return [json.loads(line).get("step", "") for line in text.split("\n")[:-1]]


def start(world: World, night: Night) -> subprocess.Popen:
    """Start the retrain of a night."""
    extra = {"MLFLOW_TRACKING_URI": night.tracking_uri} if night.tracking_uri else {}
    settings = environment(PYTHONPATH=str(world.project), MILLRACE_NOW=world.today.isoformat(), **extra)
    with log_of(world).open("ab") as log:
        log.write(f"\n=== {world.today:%Y-%m-%d} {night.story}\n".encode())
        log.flush()
        return subprocess.Popen(
            command("retrain", *night.options), cwd=world.project, env=settings, stdout=log, stderr=log
        )


def finish(process: subprocess.Popen) -> int:
    """Wait for a retrain and return its exit code."""
    return process.wait(LONGEST_SECONDS)


def log_of(world: World) -> Path:
    """Return where the output of all nights goes."""
    return world.base / "nights.log"


def at_the_end(world: World) -> list[str]:
    """Return what a month must not leave behind."""
    problems = []
    with sqlite3.connect(world.project / "mlflow.db") as store:
        aliases = dict(store.execute("select alias, version from registered_model_aliases").fetchall())
        digests = store.execute("select value from model_version_tags where key = 'model_sha256'").fetchall()
    decided = [entry for entry in history(world.project) if entry["outcome"] in ("promoted", "refused")]
    promoted = [entry["version"] for entry in decided if entry["outcome"] == "promoted"]
    if str(aliases.get("champion")) != promoted[-1]:
        problems.append(
            f"the champion is version {aliases.get('champion')}, last promoted was {promoted[-1]}"
        )
    if len(digests) != len(set(digests)):
        problems.append("a model was registered twice")
    branch = f"retrain/{world.branch}"
    if git(world.remote, "rev-parse", branch) != decided[-1]["commit"]:
        problems.append("the remote does not have the last results")
    if git(world.project, "status", "--porcelain"):
        problems.append("files of people were touched")
    if processes_of(world.project):
        problems.append("something is still running")
    if not all(entry["reasons"] for entry in history(world.project)):
        problems.append("a night without a reason")
    return problems


def main() -> None:
    """Run the month that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="an empty folder")
    parser.add_argument("--nights", type=int, default=len(PLAN))
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    problems = month(options.folder.absolute(), options.nights)
    print("\n".join(problems) or "every night as planned")
    raise SystemExit(1 if problems else 0)


if __name__ == "__main__":
    main()
