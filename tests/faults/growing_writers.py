"""Writers of what grows: logs, remembered results, stored archives; and of a link."""

import hashlib
import json
from pathlib import Path

from pipeline.runtime.files import write_bytes
from tests.faults.writer import Torn, Writer

# The out of `register` that says whether its question is settled: a file and a link by turns


def _settled_write(number: int) -> None:
    from pipeline.gate.decision import write_settled

    write_settled(held=number % 3 != 0)
    # Its content does not count, so a file beside it tells the versions apart.
    write_bytes(Path("number"), bytes([number]))


def _settled_read() -> int:
    path = Path("reports/register/settled")
    number = Path("number").read_bytes()[0]
    if not path.is_symlink() and path.read_text() != "settled\n":
        raise Torn(f"{path} says {path.read_text()!r}")
    return number


# The audit log


def _audit_write(number: int) -> None:
    from pipeline.versions.rollback import append_audit

    append_audit({"number": number, "reason": "r" * 300})


def _audit_read() -> int:
    from pipeline.versions.rollback import read_audit

    return _last_of([entry["number"] for entry in read_audit()])


def _last_of(found: list[int]) -> int:
    last = max(found)
    # A repeated command may note twice what it did once; nothing may be missing or out of order.
    if found != sorted(found) or set(found) != set(range(last + 1)):
        raise Torn(f"lines: {found}")
    return last


# The lines of a retraining's history, and the ledger of the test set


def _lines_write(number: int) -> None:
    from pipeline.runtime.files import append_line

    append_line(Path(".millrace/retrain/history.jsonl"), {"number": number, "why": "w" * 300})


def _lines_read() -> int:
    from pipeline.runtime.files import read_lines

    return _last_of([record["number"] for record in read_lines(Path(".millrace/retrain/history.jsonl"))])


def _ledger_write(number: int) -> None:
    from pipeline.evaluation.ledger import Holdout, note_use

    note_use(Holdout("d" * 64, 100, (1, 2, 3)), f"{number:064x}", "somebody")


def _ledger_read() -> int:
    from pipeline.evaluation.ledger import all_uses

    numbers = [int(use.model_sha256, 16) for use in all_uses()]
    if len(set(numbers)) < len(numbers):
        raise Torn(f"a use counts twice: {numbers}")
    return _last_of(numbers)


# The live log of a training

LIVE = Path(".millrace/live/cnn.jsonl")


def _live_write(number: int) -> None:
    from pipeline.runtime.progress import LiveLog

    log = LiveLog(LIVE, "cnn", "key")
    log.append(number + 1, {"loss": 1.0 / (number + 1)})


def _live_read() -> int:
    from pipeline.runtime.progress import earlier_lines

    epochs = [line["epoch"] for line in earlier_lines(LIVE, "key")[1:]]
    if epochs != list(range(1, len(epochs) + 1)):
        raise Torn(f"live log: {epochs}")
    return len(epochs) - 1


# Rungs that a search remembers


def _rung_write(number: int) -> None:
    from pipeline.tuning.trials import RememberedRungs, Rung, TrialOutcome

    def train(rungs, on_outcome):
        outcomes = [TrialOutcome(0.5, {"loss": 0.5}, 1) for _ in rungs]
        for rung, outcome in zip(rungs, outcomes, strict=True):
            on_outcome(rung, outcome)
        return outcomes

    rungs = [Rung(item, {}, {}, 1, Path(f"trials/{item:03d}")) for item in range(number + 1)]
    RememberedRungs(train, lambda *_: None)(rungs)


def _rung_read() -> int:
    memos = sorted(Path("trials").glob("*/rung-*.json"))
    for memo in memos:
        if json.loads(memo.read_text())["metrics"] != {"loss": 0.5}:
            raise Torn(str(memo))
    if [memo.parent.name for memo in memos] != [f"{item:03d}" for item in range(len(memos))]:
        raise Torn(f"trials: {memos}")
    return len(memos) - 1


# The store of verified archives


def _stored_write(number: int) -> None:
    from pipeline.fetching.snapshot import take_snapshot
    from pipeline.fetching.source import Location

    # One text per line, its label first.
    take_snapshot(
        "text_lines", Location(path=f"texts-{number}.txt"), max_bytes=1 << 20, options={"separator": "tab"}
    )


def _stored_prepare() -> None:
    for number in range(40):
        lines = [f"{'ham' if row % 2 else 'spam'}\ttext {row} of {number}" for row in range(200)]
        Path(f"texts-{number}.txt").write_text("\n".join(lines) + "\n")


def _stored_read() -> int:
    tars = sorted(Path(".millrace/sources").glob("*"))
    for tar in tars:
        if not tar.name.startswith(".") and hashlib.sha256(tar.read_bytes()).hexdigest() != tar.stem:
            raise Torn(f"{tar} is not what its name says")
    return len(tars) - 1


GROWING_WRITERS: dict[str, Writer] = {
    "settled": Writer(_settled_write, _settled_read, 5),
    "audit": Writer(_audit_write, _audit_read, 20),
    "history": Writer(_lines_write, _lines_read, 15),
    "test ledger": Writer(_ledger_write, _ledger_read, 12),
    "live log": Writer(_live_write, _live_read, 6),
    "rungs": Writer(_rung_write, _rung_read, 7),
    "stored archive": Writer(_stored_write, _stored_read, 3, _stored_prepare),
}
