"""Which process owns a running run, and the end of runs whose owner is gone.

SIGTERM and kill -9 leave a run RUNNING for ever. A run therefore carries the host, number and start of
the process that feeds it, and whoever opens the store next on that host closes the runs of the dead.
"""

import platform
from pathlib import Path

from pipeline.tracking.store import Store

HOST, PROCESS, STARTED = "millrace.host", "millrace.pid", "millrace.process_started"


def owner_tags(pid: int) -> dict[str, str]:
    """Return the tags that name a process of this machine."""
    return {HOST: host_name(), PROCESS: str(pid), STARTED: process_started(pid)}


def host_name() -> str:
    """Return the name of this machine, with the start of its id where Linux has one: names repeat."""
    machine_id = Path("/etc/machine-id")
    suffix = f"-{machine_id.read_text().strip()[:8]}" if machine_id.is_file() else ""
    return platform.node() + suffix


def process_started(pid: int) -> str:
    """Return boot and start tick of a process, or "" if there is none.

    Numbers of processes are given again; together with this value they are unique.
    """
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
    state, *fields = status.rpartition(")")[2].split()
    # Field 22 of proc(5), counted from 1; the state after the name in brackets is field 3.
    return "" if state == "Z" else f"{boot}:{fields[18]}"


def sweep(store: Store) -> list[str]:
    """Close the running runs of this host whose process is gone.

    Returns:
        The ids of the closed runs.
    """
    running = store.client.search_runs(
        [store.experiment_id], f"attributes.status = 'RUNNING' and tags.`{HOST}` = '{host_name()}'"
    )
    closed = []
    for run in running:
        tags = run.data.tags
        if process_started(int(tags.get(PROCESS, "0"))) != tags.get(STARTED):
            store.client.set_terminated(run.info.run_id, status="KILLED")
            closed.append(run.info.run_id)
    return closed
