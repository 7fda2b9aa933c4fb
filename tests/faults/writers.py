"""All durable writers of the product, each as numbered versions of what it writes."""

import hashlib
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np


class Torn(Exception):
    """What lies there is no version that was ever written."""


@dataclass(frozen=True)
class Writer:
    """A durable writer.

    Attributes:
        write: Writes version n into the working directory.
        read: Returns the number of the version that a reader finds there.
        rounds: How many versions one process writes one after the other.
        prepare: Makes what version 0 needs.
        ignored: How the names of files begin that may be left behind, or that have another name each time.
        service: Whether a failing disk shows as a store that does not answer.
        dear: Whether a point takes long, so that a short run tries fewer.
    """

    write: Callable[[int], None]
    read: Callable[[], int]
    rounds: int
    prepare: Callable[[], None] = lambda: None
    ignored: tuple[str, ...] = ()
    service: bool = False
    dear: bool = False


def _file_writer(path: str, write: Callable[[Path, int], None], rounds: int) -> Writer:
    """Return the writer of one file whose bytes follow from the number of the version."""
    known: dict[bytes, int] = {}

    def read() -> int:
        for number in range(rounds + 2 if not known else 0):
            elsewhere = Path("../reference", path)
            write(elsewhere, number)
            known[hashlib.sha256(elsewhere.read_bytes()).digest()] = number
        content = Path(path).read_bytes()
        found = known.get(hashlib.sha256(content).digest())
        if found is None:
            raise Torn(f"{path}: {len(content)} bytes that nobody wrote")
        return found

    return Writer(lambda number: write(Path(path), number), read, rounds)


def _content(number: int) -> dict:
    return {"number": number, "numbers": list(range(number, number + 4000))}


def _bytes(path: Path, number: int) -> None:
    from pipeline.artifacts import write_bytes

    write_bytes(path, bytes([number]) * (200_000 + number))


def _json(path: Path, number: int) -> None:
    from pipeline.artifacts import write_json

    write_json(path, _content(number))


def _csv(path: Path, number: int) -> None:
    from pipeline.tables import write_csv

    write_csv(path, ["number", "square"], [(row, row * number) for row in range(3000)])


def _checkpoint(path: Path, number: int) -> None:
    from pipeline import checkpoint

    checkpoint.save(path, {"model": [np.full((50, 50), number, np.float32)]}, {"epoch": number})


def _npz(path: Path, number: int) -> None:
    from pipeline.npz_files import write_npz

    write_npz(path, {"inputs": np.full((100, 16), number, np.float32), "predictions": np.arange(number + 1)})


def _npy(path: Path, number: int) -> None:
    from pipeline.sample_table import npy_writer

    with npy_writer(path) as writer:
        for row in range(3):
            writer.append(np.full((60, 60), number + row, np.float32))


def _source(path: Path, number: int) -> None:
    from pipeline.source_file import Source, write_source

    source = Source(
        kind="digits", location="bundled", sha256=f"{number:064x}", bytes=9, files=1, count=100 + number
    )
    write_source(source, path)


def _params(path: Path, number: int) -> None:
    from pipeline.example_params import replace_params

    path.parent.mkdir(parents=True, exist_ok=True)
    if path.parent == Path():
        replace_params(f"seed: {number}\n".encode())
    else:
        path.write_bytes(f"seed: {number}\n".encode())


def _tar(path: Path, number: int) -> None:
    """As `fetch` writes data/raw/source.tar."""
    from pipeline.archives import write_tar
    from pipeline.artifacts import atomic_path

    with atomic_path(path) as temporary:
        write_tar(temporary, {f"{name}.txt": name.encode() * (5000 + number) for name in "abc"})


def _keras_model(number: int):
    import keras

    inputs = keras.Input((4,), name="inputs")
    made = keras.Model(inputs, keras.layers.Dense(3, name="out")(inputs), name="small")
    made.get_layer("out").set_weights([np.full((4, 3), number, np.float32), np.zeros(3, np.float32)])
    return made


def _keras(path: Path, number: int) -> None:
    from pipeline.keras_files import save_model

    path.parent.mkdir(parents=True, exist_ok=True)
    save_model(_keras_model(number), path)


# The out of `register` that says whether its question is settled: a file and a link by turns


def _settled_write(number: int) -> None:
    from pipeline.settled import write_settled

    write_settled(held=number % 3 != 0)
    # Its content does not count, so a file beside it tells the versions apart.
    _bytes(Path("number"), number)


def _settled_read() -> int:
    path = Path("reports/register/settled")
    number = Path("number").read_bytes()[0]
    if not path.is_symlink() and path.read_text() != "settled\n":
        raise Torn(f"{path} says {path.read_text()!r}")
    return number


# The audit log


def _audit_write(number: int) -> None:
    from pipeline.audit import append_audit

    append_audit({"number": number, "reason": "r" * 300})


def _audit_read() -> int:
    from pipeline.audit import read_audit

    found = [entry["number"] for entry in read_audit()]
    last = max(found)
    # A repeated command may note twice what it did once; nothing may be missing or out of order.
    if found != sorted(found) or set(found) != set(range(last + 1)):
        raise Torn(f"audit log: {found}")
    return last


# The live log of a training

LIVE = Path(".millrace/live/cnn.jsonl")


def _live_write(number: int) -> None:
    from pipeline.live_log import LiveLog

    log = LiveLog(LIVE, "cnn", "key")
    log.append(number + 1, {"loss": 1.0 / (number + 1)})


def _live_read() -> int:
    from pipeline.live_log import earlier_lines

    epochs = [line["epoch"] for line in earlier_lines(LIVE, "key")[1:]]
    if epochs != list(range(1, len(epochs) + 1)):
        raise Torn(f"live log: {epochs}")
    return len(epochs) - 1


# Rungs that a search remembers


def _rung_write(number: int) -> None:
    from pipeline.trials import Outcome, RememberedRungs, Rung

    def train(rungs, on_outcome):
        outcomes = [Outcome(0.5, {"loss": 0.5}, 1) for _ in rungs]
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
    from pipeline.gather import gather
    from pipeline.source_file import Location

    # One text per line, its label first.
    gather(
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


# Who is champion, and versions of models in the registry

CHAMPION_ROUNDS = 2
MLFLOW_FILES = ("mlflow.db", "mlartifacts/", "packed-")


@contextmanager
def _store():
    from pipeline.tracking.store import service_errors, tracking_uri
    from tests.registered import store_in

    # As the stages do it.
    with service_errors(tracking_uri(Path.cwd())):
        yield store_in(Path.cwd())


def _champion_prepare() -> None:
    for number in range(CHAMPION_ROUNDS + 2):
        _version_write(number)


def _champion_write(number: int) -> None:
    from pipeline.tracking import registry
    from tests.registered import decision

    with _store() as store:
        version = registry.version_numbered(store, "digits", number + 1)
        before = registry.version_numbered(store, "digits", number).model_sha256 if number else ""
        made = decision(version, before)
        registry.record_decision(store, "digits", version, made)
        registry.apply_decision(store, "digits", version, made)


def _champion_read() -> int:
    from pipeline.tracking import champions

    with _store() as store:
        champions.settle(store, "digits")
        listed = [item.version for item in champions.champions(store, "digits")]
        if listed != list(range(1, len(listed) + 1)):
            raise Torn(f"champions: {listed}")
        expected = {"champion": listed[-1]} | ({"previous": listed[-2]} if len(listed) > 1 else {})
        if champions.aliases(store, "digits") != expected:
            raise Torn(f"aliases {champions.aliases(store, 'digits')}, champions {listed}")
        return listed[-1] - 1


def _version_write(number: int) -> None:
    """As `register` does it: the version of this very model, made if there is none."""
    from pipeline.tracking import registry
    from tests.registered import packed

    registry.check_in_fresh_process = lambda _folder: None
    folder = Path(f"packed-{number}")
    content = f"model {number}".encode()
    if not folder.exists():
        packed(folder, content, {"train": ["one"]})
    with _store() as store:
        if registry.find_version(store, "digits", hashlib.sha256(content).hexdigest()) is None:
            run = store.client.create_run(store.experiment_id)
            run_id = run.info.run_id
            registry.create_version(store, "digits", folder, run_id=run_id, tags={}, description="")


def _version_prepare() -> None:
    from tests.registered import packed

    for number in range(3):
        packed(Path(f"packed-{number}"), f"model {number}".encode(), {"train": ["one"]})


def _version_read() -> int:
    from pipeline.tracking import registry

    with _store() as store:
        found = registry.versions(store, "digits")
        for version in found:
            with TemporaryDirectory() as folder:
                registry.fetch_model(store, version, Path(folder))
    if len({version.model_sha256 for version in found}) < len(found):
        raise Torn(f"a model has two versions: {found}")
    return len(found) - 1


# A new store


def _new_store_write(number: int) -> None:
    from pipeline.tracking.store import create_sqlite, service_errors

    path = Path(f"stores/{number}.db").absolute()
    with service_errors(f"sqlite:///{path}"):
        create_sqlite(path)


def _new_store_read() -> int:
    from pipeline.tracking.store import half_migrated

    stores = sorted(Path("stores").glob("[0-9]*.db"))
    for store in stores:
        with closing(sqlite3.connect(store)) as connection:
            tables = connection.execute("SELECT count(*) FROM sqlite_master WHERE type = 'table'").fetchone()[
                0
            ]
            alembic = connection.execute("SELECT version_num FROM alembic_version").fetchall()
        if half_migrated(store) or tables < 40 or len(alembic) != 1:
            raise Torn(f"{store}: {tables} tables, version {alembic}")
    return len(stores) - 1


WRITERS: dict[str, Writer] = {
    "write_bytes": _file_writer("out/bytes.bin", _bytes, 7),
    "write_json": _file_writer("reports/register/decision.json", _json, 7),
    "write_csv": _file_writer("reports/table.csv", _csv, 7),
    "write_npz": _file_writer("models/golden.npz", _npz, 5),
    "npy_writer": _file_writer("data/payload.npy", _npy, 6),
    "checkpoint": _file_writer("models/checkpoint", _checkpoint, 6),
    "source.json": _file_writer("data/source.json", _source, 7),
    "params.yaml": _file_writer("params.yaml", _params, 5),
    "source.tar": _file_writer("data/raw/source.tar", _tar, 6),
    "settled": Writer(_settled_write, _settled_read, 5),
    "audit": Writer(_audit_write, _audit_read, 20),
    "live log": Writer(_live_write, _live_read, 6),
    "rungs": Writer(_rung_write, _rung_read, 7),
    "stored archive": Writer(_stored_write, _stored_read, 3, _stored_prepare),
    # Keras unpacks into the system's temporary folder; what a kill leaves there, the system clears away.
    "keras": replace(_file_writer("models/model.keras", _keras, 2), ignored=("../tmp/",), dear=True),
    "champions": Writer(
        _champion_write,
        _champion_read,
        CHAMPION_ROUNDS,
        _champion_prepare,
        MLFLOW_FILES,
        service=True,
        dear=True,
    ),
    "model version": Writer(
        _version_write,
        _version_read,
        1,
        _version_prepare,
        (*MLFLOW_FILES, "../tmp/"),
        service=True,
        dear=True,
    ),
    "new store": Writer(_new_store_write, _new_store_read, 1, service=True, dear=True),
}
