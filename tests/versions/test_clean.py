"""`millrace clean`: what goes, and that whatever stays can still be traced, rolled back to and built again."""

import io
import json
import shutil
import subprocess
import tempfile
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from pipeline import cli
from pipeline.gate import uses
from pipeline.runtime.files import folder_bytes
from pipeline.runtime.processes import acquire_lock
from pipeline.tracking import registry
from pipeline.tracking.champions import champions
from pipeline.tracking.store import open_store
from pipeline.versions import lineage
from pipeline.versions.comparison import read_origin
from pipeline.versions.reproduce import data_places, read_source
from tests.helpers.dvc_objects import is_cached, sha256
from tests.helpers.empty_store import put_store
from tests.helpers.many_nights import EXPERIMENT, MODEL, leave_behind, night, raw, start
from tests.helpers.rebuilt_project import git

pytestmark = pytest.mark.timeout(300)
NIGHTS, CHAMPIONS, KEEP = 7, (1, 3), 2
STAY = (1, 3, 6, 7)


@pytest.fixture(scope="module")
def past(tmp_path_factory):
    """A project after seven nights, two of which made a champion; the working directory."""
    root = start(tmp_path_factory.mktemp("project"))
    put_store(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT", "DVC_STAGE", "MILLRACE_HOME"):
            patch.delenv(name, raising=False)
        patch.setattr(registry, "check_in_fresh_process", lambda *_arguments: None)
        for number in range(1, NIGHTS + 1):
            night(root, number, verdict="promoted" if number in CHAMPIONS else "refused")
        yield root


def clean(*arguments):
    """Run the command as typed and return exit code and output."""
    said, code = io.StringIO(), 0
    with redirect_stdout(said), redirect_stderr(said):
        try:
            cli.main(["clean", *arguments])
        except SystemExit as error:
            code = error.code
    return code, said.getvalue()


def test_a_dry_run_removes_nothing(past):
    """It says what would go."""
    before = {path for path in past.rglob("*") if path.is_file() and "tmp" not in path.parts}
    code, said = clean("--keep", "2", "--dry-run")
    assert (0, True) == (code, "Nothing was removed" in said), said
    assert "3  versions that never were champion" in said
    gone = {path for path in before if not path.exists()}
    assert {path for path in gone if not path.name.startswith("mlflow.db-")} == set()


def test_what_nobody_needs_goes_and_what_somebody_may_ask_for_stays(past):
    """Versions, runs, trials, cache, archives, worktrees, logs; former champions keep all that they need."""
    left = leave_behind(past)
    size = folder_bytes(past / "mlartifacts")
    code, said = clean("--keep", str(KEEP))
    assert code == 0, said
    store = open_store(past, EXPERIMENT)
    found = {version.number: version for version in registry.versions(store, MODEL)}
    assert STAY == tuple(found)
    assert [1, 3] == [item.version for item in champions(store, MODEL)]
    assert folder_bytes(past / "mlartifacts") < 0.7 * size

    # What a version was made from stays with it, here and in DVC's cache.
    assert STAY == tuple(number for number in range(1, NIGHTS + 1) if is_cached(past, raw(number)))
    stored = {path.stem for path in (past / ".millrace/sources").glob("*.tar")}
    assert {sha256(raw(number)) for number in STAY} == stored
    # Of what stages made, only what a branch names: it can be made again.
    models = [n for n in range(1, NIGHTS + 1) if is_cached(past, f"model of night {n}".encode())]
    assert [NIGHTS] == models
    assert 1 == len([path for path in (past / ".dvc/cache/runs").rglob("*") if path.is_file()])

    names = sorted(run.info.run_name for run in _all_runs(store))
    assert sorted([f"n{n}" for n in STAY] + ["cnn"] * len(STAY) + ["t"] * len(STAY)) == names

    kept = {"newest checkpoint", "live log", "cron log", "history", "ledger", "audit"}
    assert kept == {name for name, path in left.items() if path.exists()}
    assert left["cron log"].stat().st_size <= 1 << 20
    assert left["cron log"].read_text().startswith("line\n")
    assert str(left["worktree"]) not in git(past, "worktree", "list")


def _all_runs(store):
    from mlflow.entities import ViewType

    return store.client.search_runs([store.experiment_id], "", ViewType.ALL, 50000)


@pytest.mark.parametrize("number", STAY)
def test_a_version_that_stayed_is_traced_rolled_back_to_and_built_again(past, number):
    """Its papers, its files and its raw data are there: what lineage, rollback and reproduce begin with."""
    store = open_store(past, EXPERIMENT)
    version = registry.version_numbered(store, MODEL, number)
    assert sha256(raw(number)) == lineage.way_back(store, MODEL, version)["source"]["sha256"]
    assert [number] == list(lineage.way_forward(store, MODEL, sha256(f"row {number}".encode()))["versions"])
    with tempfile.TemporaryDirectory() as folder:
        assert registry.fetch_model(store, version, Path(folder)).is_dir()
    with tempfile.TemporaryDirectory() as folder:
        origin = read_origin(store, MODEL, version, Path(folder))
        text = git(past, "show", f"{origin.commit}:data/source.json")
        (Path(folder) / "then.json").write_text(text)
        source = read_source(Path(folder) / "then.json")
        places = data_places(origin, source)
        assert {"this project's store", "DVC's cache"} == set(places)
        assert {raw(number)} == {place.read_bytes() for place in places.values()}


def test_the_looks_at_the_test_set_are_still_counted(past):
    """Those that stood on removed versions stand on one that stays: a fresh clone counts seven."""
    store = open_store(past, EXPERIMENT)
    found = {use.model_sha256 for version in registry.versions(store, MODEL) for use in uses.uses_on(version)}
    assert NIGHTS == len(found)


def test_a_second_call_finds_nothing(past):
    """Whoever was killed in the middle does the same again."""
    code, said = clean("--keep", str(KEEP))
    assert code == 0, said
    counts = [line.split()[0] for line in said.splitlines() if line[:7].strip().isdigit()]
    assert ["0"] * 10 == counts


def test_papers_that_cannot_be_read_stop_it_before_anything_goes(past):
    """Nobody knows what that version needs: 74, and every archive is still there."""
    store = open_store(past, EXPERIMENT)
    version = registry.version_numbered(store, MODEL, 1)
    (lock,) = (past / "mlartifacts").rglob(f"{version.model_id}/artifacts/millrace/dvc.lock")
    aside = lock.rename(lock.with_name("aside"))
    night(past, 8, verdict="refused")
    before = sorted((past / ".millrace/sources").glob("*.tar"))
    code, said = clean("--keep", "1")
    aside.rename(lock)
    assert (74, True) == (code, "What version 1 was made from is not known" in said), said
    assert before == sorted((past / ".millrace/sources").glob("*.tar"))
    assert 8 == registry.versions(store, MODEL)[-1].number


def test_whoever_is_at_work_is_not_disturbed(past):
    """A retrain, a stage, or dvc itself: exit code 75, and nothing goes."""
    for name in ("retrain", "train@cnn"):
        lock = acquire_lock(name)
        code, said = clean("--keep", "1")
        lock.close()
        assert (75, True) == (code, f"{name} is already running" in said), said
    sleeper = subprocess.Popen(["sleep", "60"])
    (past / ".dvc/tmp").mkdir(exist_ok=True)
    (past / ".dvc/tmp/rwlock").write_text(
        json.dumps({"read": {}, "write": {"x": {"pid": sleeper.pid, "cmd": "dvc"}}})
    )
    try:
        code, said = clean("--keep", "1")
    finally:
        sleeper.kill()
        sleeper.wait()
    assert (75, True) == (code, f"process {sleeper.pid}" in said), said


def test_the_newest_version_always_stays(past, capsys):
    """0 is a wrong call."""
    with pytest.raises(SystemExit) as stopped:
        cli.main(["clean", "--keep", "0"])
    assert 64 == stopped.value.code
    assert "Received: 0" in capsys.readouterr().err


def test_a_cache_that_several_projects_share_is_left_alone(past, tmp_path):
    """Nobody here knows what the others need."""
    shared = tmp_path / "shared"
    (past / ".dvc/cache").rename(shared)
    (past / ".dvc/config.local").write_text(f"[cache]\n    dir = {shared}\n")
    objects = sum(path.is_file() for path in shared.rglob("*"))
    code, said = clean("--keep", "1")
    assert code == 0, said
    assert objects == sum(path.is_file() for path in shared.rglob("*"))
    assert "is not this project's alone" in "".join(said.split("\n")), said


def test_a_copied_project_does_not_touch_the_files_of_its_original(past, tmp_path):
    """What a copied database names is its own copy of the files, and what it removes lies there."""
    from pipeline.tracking import removal

    copy = tmp_path / "copy"
    copy.mkdir()
    shutil.copytree(past / "mlartifacts", copy / "mlartifacts")
    (copy / "mlflow.db").write_bytes((past / "mlflow.db").read_bytes())
    with chdir(copy):
        store = open_store(copy, EXPERIMENT)
        run = _all_runs(store)[0]
        folder = removal.local_folder(store, run.info.artifact_uri)
    assert folder is not None
    assert folder.is_relative_to(copy)
    assert folder.is_dir()
    assert removal.local_folder(open_store(past, EXPERIMENT), run.info.artifact_uri) is None
