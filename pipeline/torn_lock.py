"""What DVC left half written when it was killed: `python -m pipeline.torn_lock` mends it.

DVC writes two files anew, in place, around every stage, and a power cut or kill -9 in that moment leaves their
beginning: dvc.lock ("validation failed") and .dvc/tmp/rwlock ("JSON structure is corrupted"). Every further `dvc repro`
stops there. Nothing else is lost: the second only says who is at work, and DVC's run cache knows what each finished
stage made, so that the next `dvc repro` brings it back without running it.
"""

import json
import subprocess
import sys
from pathlib import Path

from dvc.exceptions import DvcException
from dvc.lock import make_lock
from dvc.rwlock import RWLOCK_FILE, RWLOCK_LOCK
from dvc.schema import COMPILED_LOCKFILE_SCHEMA
from dvc.utils.strictyaml import load

from pipeline import paths

KEPT = paths.STATE_DIR / "dvc.lock.torn"
AT_WORK = Path(".dvc/tmp") / RWLOCK_FILE
"""Which process reads and writes which path; DVC itself forgets those that are gone."""


def is_torn() -> bool:
    """Return whether there is a dvc.lock that DVC itself does not take."""
    if not paths.DVC_LOCK.is_file():
        return False
    try:
        load(str(paths.DVC_LOCK), COMPILED_LOCKFILE_SCHEMA)
    except DvcException:
        return True
    return False


def mend() -> list[str]:
    """Replace a torn dvc.lock by the committed one, or by none, and remove a torn list of who is at work.

    Returns:
        What was mended, in words.
    """
    told = []
    if _mend_lock():
        told.append(
            f"dvc.lock was half written, by a run that was killed. It is {KEPT} now, and the last whole one is back; "
            "what stages finished since comes out of DVC's run cache."
        )
    if _forget_who_was_at_work():
        told.append(f"{AT_WORK} was half written, by a run that was killed. It is gone; DVC makes it anew.")
    return told


def _mend_lock() -> bool:
    """Replace a torn dvc.lock; the torn one is kept beside. Return whether it was torn."""
    if not is_torn():
        return False
    KEPT.parent.mkdir(exist_ok=True)
    paths.DVC_LOCK.replace(KEPT)
    # `./`: the project may lie in a folder of a larger repository. Without git there is none to take.
    command = ["git", "checkout", "--quiet", "HEAD", "--", f"./{paths.DVC_LOCK}"]
    subprocess.run(command, check=False, stderr=subprocess.DEVNULL)
    return True


def _forget_who_was_at_work() -> bool:
    """Remove the list if it is torn; return whether it was. Behind DVC's own guard, so that no writer is met midway."""
    if not AT_WORK.is_file():
        return False
    with make_lock(str(AT_WORK.with_name(RWLOCK_LOCK)), tmp_dir=str(AT_WORK.parent)):
        try:
            json.loads(AT_WORK.read_text(encoding="utf-8"))
        except ValueError:
            AT_WORK.unlink()
            return True
    return False


def main() -> None:
    """Mend what is torn in the working directory; exit code 1 if nothing is."""
    told = mend()
    if not told:
        sys.exit(1)
    print("\n".join(told))


if __name__ == "__main__":
    main()
