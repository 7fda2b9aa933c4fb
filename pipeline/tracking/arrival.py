"""Files that were sent to the artifact store: they arrived as they were, and the model in them works."""

import sys
from pathlib import Path
from subprocess import TimeoutExpired

from pipeline.runtime.files import file_digest
from pipeline.runtime.processes import naming_us, run
from pipeline.runtime.stage import StorageFailed

CHECK_TIMEOUT_SECONDS = 300


def require_same_files(sent: Path, arrived: Path) -> None:
    """Compare the sha256 of every file of two folders.

    Raises:
        StorageFailed: They differ; says where.
    """
    expected, received = file_digests(sent), file_digests(arrived)
    different = sorted(
        name for name in expected.keys() | received.keys() if expected.get(name) != received.get(name)
    )
    if different:
        raise StorageFailed(
            f"The artifact store gave back other files than it was sent. Expected the same sha256. Received: "
            f"{', '.join(different)} differ. No model version was made. Check its disk and run `dvc repro` again."
        )


def check_in_fresh_process(
    folder: Path, advice: str = "No model version was made. Run `dvc repro --force evaluate`."
) -> None:
    """Load a packed model in a new process, which limits itself, and compare its answers with the golden ones.

    Args:
        folder: The packed model.
        advice: What did not happen therefore, and what to do.

    Raises:
        StorageFailed: It does not load, answers otherwise, or takes too much time or memory.
    """
    try:
        command = [sys.executable, "-m", "pipeline.evaluation.golden", str(folder)]
        answer = run(command, environment=naming_us(), seconds=CHECK_TIMEOUT_SECONDS)
    except TimeoutExpired as error:
        raise StorageFailed(
            f"The model did not answer in a fresh process. Expected the golden predictions within "
            f"{CHECK_TIMEOUT_SECONDS} s. Received: nothing. {advice}"
        ) from error
    if answer.code != 0:
        # Killed for its limits a process says nothing.
        said = answer.err.strip()[-500:] or f"it ended with {answer.code}, perhaps at its limits."
        raise StorageFailed(
            f"The model does not work in a fresh process: {said} Expected the golden predictions. {advice}"
        )


def file_digests(folder: Path) -> dict[str, str]:
    """Return path (relative, with slashes) to sha256 of every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): file_digest(path, "sha256")
        for path in folder.rglob("*")
        if path.is_file()
    }
