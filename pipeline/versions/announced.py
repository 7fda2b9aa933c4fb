"""Which version a name or an alias stands for, told to a server that itself knows no MLflow; fetched and verified.

`python -m pipeline.versions.announced NAMED DEFAULT_NAME SECONDS [patient] [once]` prints a line of JSON at a time:

- `{"name", "version", "folder", "sha256"}`: this version answers from now on; its files lie in the folder;
- `{"heard": true}`: the registry was asked, and nothing is new;
- `{"problem": ...}`: it could not be asked, or the version cannot be fetched, and `version` which one, if it is known;
  with `"gone": true` the registry has answered that there is no such alias or version.

It asks every SECONDS; once, until it has told a version or that there is none. That nobody can be asked at the start
ends it, with the exit code of the cause, unless it is patient: then it is told as later ones are. It dies with the
process that started it.
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.runtime.errors import InputMissing, StorageFailed, UserError
from pipeline.runtime.processes import die_with_parent
from pipeline.runtime.stage import exit_codes
from pipeline.tracking.store import Store, open_existing_store, service_errors
from pipeline.versions.fetched import fetched_version
from pipeline.versions.lineage import named_version

LONGEST_WAIT_SECONDS = 60.0
"""Before a version whose files are damaged in the store is fetched once more."""


def announced(
    named: str, default_name: str, seconds: float, root: Path, *, patient: bool = False, once: bool = False
) -> Iterator[dict[str, Any]]:
    """Yield what is to be told, see the head of this file.

    Args:
        named: `MODEL`, `MODEL/VERSION`, `MODEL@ALIAS`, or "" for the champion of this project.
        default_name: The model of this project.
        seconds: Between two questions.
        root: The project's folder.
        patient: Whether the first question may go unanswered.
        once: Whether one answer is enough: that of a number does not change.

    Raises:
        UserError: It could not be answered, and nobody is patient.
    """
    store: Store | None = None
    told, wait, begun = "", seconds, patient
    while True:
        number: int | None = None
        try:
            store = store or open_existing_store(root)
            with service_errors(store.uri):
                name, version = named_version(store, named, default_name)
                number = version.number
                if (found := f"{name}/{number}/{version.model_sha256}") == told:
                    wait = seconds
                    yield {"heard": True}
                else:
                    folder = fetched_version(store, version).absolute()
                    told, wait, begun = found, seconds, True
                    sha256 = version.model_sha256
                    yield {"name": name, "version": str(number), "folder": str(folder), "sha256": sha256}
        except Exception as error:  # whatever it is: the server goes on with what it has, and tells it
            if not begun:
                raise
            if isinstance(error, StorageFailed):
                wait = max(seconds, min(2 * wait, LONGEST_WAIT_SECONDS))
            of: dict[str, Any] = {}
            if number is not None:
                of = {"version": str(number)}
            elif store is not None and isinstance(error, InputMissing):
                of = {"gone": True}
            if of:  # the alias left the version that was told: should it come back, that is told again
                told = ""
            yield {"problem": str(error) if isinstance(error, UserError) else repr(error)} | of
            if once and "gone" in of:
                return
        if once and told:
            return
        time.sleep(wait)


def main() -> None:
    """Tell it to whoever started this process."""
    with exit_codes("serve", recorded=False):
        die_with_parent()
        named, default_name, seconds, *how = sys.argv[1:]
        # Whatever else is printed, by TensorFlow say, is no line of ours.
        with os.fdopen(os.dup(sys.stdout.fileno()), "w") as told:
            os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
            lines = announced(
                named, default_name, float(seconds), Path.cwd(), patient="patient" in how, once="once" in how
            )
            for line in lines:
                try:
                    print(json.dumps(line), file=told, flush=True)
                except BrokenPipeError:
                    return


if __name__ == "__main__":
    main()
