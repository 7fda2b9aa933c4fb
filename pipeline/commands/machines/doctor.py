"""`millrace doctor`: where work runs, whether it is reached, and whether its machines are fit for it."""

import argparse
import json
from typing import Any

from pipeline.engine.chosen import chosen_engine
from pipeline.engine.work import Machine
from pipeline.provenance.locked import differing_packages, in_words
from pipeline.provenance.origin import REQUIREMENTS_LOCK, machine_facts, other_processor
from pipeline.runtime.errors import NotPermitted, UserError, say

HELP = (
    "where work runs: here or on a Ray cluster, its machines, and whether each has our packages and processor"
)
RECORDED = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("--json", action="store_true", help="all of it as one JSON object")


def run(options: argparse.Namespace) -> None:
    """Run the command.

    Raises:
        ServiceDown: The cluster does not answer.
        NotPermitted: A machine has other packages than requirements.lock, or the token is missing.
    """
    engine = chosen_engine()
    try:
        machines = engine.everywhere(facts, REQUIREMENTS_LOCK.read_text(encoding="utf-8"))
    except UserError as error:
        if options.json:
            print(json.dumps({"engine": engine.address, "reached": False, "error": str(error)}))
        raise
    if options.json:
        told = [{"name": one.name, "cores": one.cores, **one.answer} for one in machines]
        print(json.dumps({"engine": engine.address, "reached": True, "machines": told}))
    else:
        _show(engine.address, machines)
    differing = [one for one in machines if one.answer["differing"]]
    if differing:
        raise NotPermitted(
            f"{', '.join(one.name for one in differing)}: other packages. Expected those of requirements.lock. "
            f"Received: {in_words(differing[0].answer['differing'])}. Run `make setup` there, or start it from an "
            "image of this requirements.lock; until then it is given no work."
        )


def facts(lock: str) -> dict[str, Any]:
    """Return what matters about the machine that this is asked on.

    Args:
        lock: Content of the requirements.lock to compare with.
    """
    # Variables that choose kernels travel with the work.
    machine = {name: fact for name, fact in machine_facts().items() if name != "switches"}
    return {"differing": differing_packages(lock), "machine": machine}


def _show(address: str, machines: list[Machine]) -> None:
    cores = sum(one.cores for one in machines)
    where = "this machine" if address == "local" else address
    say(f"Work runs on {where}: {len(machines)} machine{'s' * (len(machines) > 1)}, {cores:g} cores")
    for one in machines:
        packages = in_words(one.answer["differing"]) or "packages of requirements.lock"
        say(f"  {one.name}: {one.cores:g} cores of {one.answer['machine']['cpu']}; {packages}")
        for line in other_processor(json.dumps(one.answer["machine"])):
            say(f"    {line}")
