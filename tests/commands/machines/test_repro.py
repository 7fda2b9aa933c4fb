"""`millrace repro --parallel` runs candidates side by side, and nothing else differs from `dvc repro`."""

import os
import subprocess
import sys
import threading
from contextlib import ExitStack, nullcontext
from pathlib import Path

import pytest
import yaml

from pipeline.cli import main
from pipeline.commands.machines import repro
from pipeline.params.load import load_params
from pipeline.runtime import paths
from pipeline.runtime.errors import WronglyCalled
from pipeline.runtime.repository import dvc_waits
from pipeline.runtime.strict_yaml import read_yaml
from tests.helpers.dvc_project import init_dvc

TOY = """
import sys, time
from pathlib import Path

stage, candidate = sys.argv[1:]
began = time.monotonic()
# The first candidate ends last, so that DVC writes the others before it.
time.sleep({"cnn": 6.0}.get(candidate, 3.0) if stage == "train" else 0.0)
if (stage, candidate) == ("tune", Path("broken.txt").read_text()):
    sys.exit(f"No.\\nmillrace: {stage}@{candidate} stopped with exit code 65 (data refused)")
Path(f"{stage}-{candidate}.txt").write_text(Path("features.txt").read_text() + stage)
with open("log.txt", "a") as log:
    log.write(f"{stage} {candidate} {began} {time.monotonic()}\\n")
"""


def each(stage: str, *deps: str) -> dict:
    """Return a stage for every candidate."""
    body = {
        "cmd": f"{sys.executable} toy.py {stage} ${{key}}",
        "deps": ["features.txt", *deps],
        "outs": [f"{stage}-${{key}}.txt"],
    }
    return {"foreach": "${candidates}", "do": body}


STAGES = {
    "features": {"cmd": "cp toy.py features.txt", "deps": ["toy.py"], "outs": ["features.txt"]},
    "train": each("train"),
    "tune": each("tune", "train-${key}.txt"),
    "select": {
        "cmd": "cp features.txt select.txt",
        "deps": ["features.txt", *(f"tune-{name}.txt" for name in ("cnn", "linear", "majority"))],
        "outs": ["select.txt"],
    },
}


@pytest.fixture
def toy(project_without_code):
    """A project of four stages, two of them for each of three candidates, without a dvc.lock."""
    params = read_yaml(Path("params.yaml"))
    params["candidates"] = {name: params["candidates"][name] for name in ("cnn", "linear", "majority")}
    Path("params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    Path("dvc.yaml").write_text(yaml.safe_dump({"stages": STAGES}, sort_keys=False))
    Path("dvc.lock").unlink(missing_ok=True)
    Path("toy.py").write_text(TOY)
    Path("broken.txt").write_text("")
    init_dvc(project_without_code, no_scm=True)
    return project_without_code


def millrace(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does."""
    command = [sys.executable, "-m", "pipeline.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.long
def test_candidates_side_by_side_leave_the_dvc_lock_of_one_after_the_other(toy):
    """Byte for byte, also where it is new, and `dvc repro` has nothing left to do."""
    done = millrace("repro", "--parallel", "2")
    assert 0 == done.returncode, done.stdout + done.stderr
    together = paths.DVC_LOCK.read_bytes()
    times = [line.split() for line in Path("log.txt").read_text().splitlines()]
    trained = sorted((float(begin), float(end)) for stage, _, begin, end in times if stage == "train")
    assert trained[1][0] < trained[0][1], "the second began before the first had ended"
    assert trained[2][0] >= min(end for _, end in trained[:2]), "and the third not"
    assert "repro: cnn, linear, majority, 2 at a time" in done.stdout
    again = millrace("repro", "--parallel", "2")
    assert (0, False) == (again.returncode, "at a time" in again.stdout), "nothing is left to do"
    for name in read_yaml(paths.DVC_LOCK)["stages"]:
        Path(f"{name.replace('@', '-')}.txt").unlink()
    paths.DVC_LOCK.unlink()
    subprocess.run([sys.executable, "-m", "dvc", "repro", "--no-run-cache"], check=True, capture_output=True)
    assert paths.DVC_LOCK.read_bytes() == together


@pytest.mark.long
def test_a_candidate_that_fails_keeps_no_other_from_its_end(toy):
    """The exit code is that of its stage, and the other candidates are done."""
    Path("broken.txt").write_text("linear")
    done = millrace("repro", "--parallel", "3")
    assert 65 == done.returncode, done.stdout + done.stderr
    assert "tune@linear failed; its message stands above" in done.stderr
    assert "linear: No." in done.stdout
    assert {"tune@cnn", "tune@majority", "train@linear"} < set(read_yaml(paths.DVC_LOCK)["stages"])
    Path("broken.txt").write_text("")
    mended = millrace("repro", "--parallel", "3")
    assert 0 == mended.returncode, mended.stdout + mended.stderr
    assert "repro: linear, 3 at a time" in mended.stdout, "the others are done"


def test_as_many_as_there_are_cores_and_memory_for(folder, monkeypatch):
    """Cores are shared by `threads`, memory by what one candidate reads; one there always is."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _process: set(range(8)))
    monkeypatch.setattr(repro, "free_bytes", lambda: 100 << 30)
    assert [8, 4, 2, 1] == [repro.room(threads) for threads in (1, 2, 3, 16)]
    assert [4, 1] == [repro.room(1, working=2), repro.room(2, working=4)]
    paths.PAYLOAD_NPY.parent.mkdir(parents=True)
    with paths.PAYLOAD_NPY.open("wb") as payload:
        payload.truncate(9 << 30)
    assert (10 << 30, 8) == (repro.bytes_each(), repro.room(1))
    monkeypatch.setattr(repro, "free_bytes", lambda: 25 << 30)
    assert [2, 1, 1] == [repro.room(1), repro.room(1, working=2), repro.room(1, waiting=1)]
    monkeypatch.setattr(repro, "free_bytes", lambda: 1 << 20)
    assert 1 == repro.room(1)
    with pytest.raises(WronglyCalled, match=r"Expected 10\.0 GiB for each of --parallel 3"):
        repro._require_memory(3, 1)


@pytest.mark.parametrize(
    ("trials", "engine", "expected"), [(4, "local", (6, 1)), (0, "local", (2, 0)), (4, "ray://a:1", (2, 0))]
)
def test_a_search_has_as_many_processes_as_trials_at_a_time(
    project_without_code, monkeypatch, trials, engine, expected
):
    """Each with its `training.workers`, and the stage that waits for them; on a cluster they are not here."""
    monkeypatch.setenv("MILLRACE_ENGINE", engine)
    params = read_yaml(Path("params.yaml"))
    params["training"]["workers"] = 2
    params["tune"] |= {"workers": 3, "trials": trials}
    params["candidates"] = {name: params["candidates"][name] for name in ("cnn", "majority")}
    params["candidates"]["cnn"]["tune"] = {
        "space": {"training.learning_rate": {"kind": "float", "low": 0.1, "high": 1.0}}
    }
    Path("params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    assert expected == repro.processes(load_params())


@pytest.mark.parametrize("failed", [False, True])
def test_another_dvc_for_a_moment_stops_nothing(toy, monkeypatch, failed):
    """An IDE asks DVC for the state all the time: we wait for it, and order dvc.lock also where a candidate failed."""
    monkeypatch.setattr("dvc.lock.DEFAULT_TIMEOUT", 0.1)
    reached, ordered = [], []
    monkeypatch.setattr(
        repro, "_dvc", lambda *_called: repro.Failure("select", 65, "x") if reached and failed else None
    )
    monkeypatch.setattr(repro, "side_by_side", lambda chains, _number: reached.extend(chains))
    monkeypatch.setattr(repro, "room", lambda *_counts: 2)
    monkeypatch.setattr(repro, "put_in_order", ordered.append)
    paths.DVC_LOCK.write_text("schema: '2.0'\nstages: {}\n")
    with ExitStack() as ide:
        ide.enter_context(dvc_waits())
        timer = threading.Timer(2, ide.close)
        timer.start()
        with pytest.raises(SystemExit, match="65") if failed else nullcontext():
            main(["repro", "--parallel"])
        timer.join()
    assert (["cnn", "linear", "majority"], [[]]) == (reached, ordered)


def test_free_memory_is_the_smaller_of_machine_and_container(folder, monkeypatch):
    """A container of 2 GiB on a machine with 64 GiB has 2; without a limit ("max") the machine's counts."""
    Path("meminfo").write_text("MemTotal: 99 kB\nMemAvailable:   67108864 kB\n")
    Path("memory.max").write_text("2147483648\n")
    places = [(Path(path.name), number, unit) for path, number, unit in repro.MEMORY]
    monkeypatch.setattr(repro, "MEMORY", places)
    assert 2 << 30 == repro.free_bytes()
    Path("memory.max").write_text("max\n")
    assert 64 << 30 == repro.free_bytes()


@pytest.mark.parametrize(
    ("arguments", "at_a_time"), [([], None), (["--parallel"], None), (["--parallel", "1"], 1)]
)
def test_a_cluster_takes_what_trains(project_without_code, monkeypatch, arguments, at_a_time):
    """`--on` gives every stage below the address, and as many candidates wait for it as there are."""
    monkeypatch.setattr("os.environ", dict(os.environ))
    calls, chained = [], []
    monkeypatch.setattr(repro, "_dvc", lambda called, arguments: calls.append(arguments))
    monkeypatch.setattr(repro, "put_in_order", lambda before: None)
    monkeypatch.setattr(repro, "_waiting", dict)
    monkeypatch.setattr(repro, "side_by_side", lambda chains, number: chained.append((chains, number)))
    main(["repro", "--on", "ray://10.0.0.5:10001", *arguments])
    ((chains, number),) = chained
    assert list(load_params().candidates) == list(chains)
    assert (at_a_time or len(chains), ["train@cnn", "tune@cnn", "folds@cnn"]) == (number, chains["cnn"])
    assert ["ray://10.0.0.5:10001"] * 2 == [os.environ[name] for name in ("MILLRACE_ON", "MILLRACE_ENGINE")]
    assert [["check", "fetch", "ingest", "validate", "split", "leaks", "features"], []] == calls


def test_what_is_no_cluster_is_refused_before_anything_runs(project_without_code, monkeypatch, capsys):
    """78, by the name of the option."""
    monkeypatch.setattr(repro, "_dvc", None)
    with pytest.raises(SystemExit) as stopped:
        main(["repro", "--on", "10.0.0.5"])
    assert 78 == stopped.value.code
    assert "--on names no engine" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("script", "told"), [("exit 1", ("dvc", 74)), ("echo '{status}' > {file}; exit 1", ("train", 65))]
)
def test_a_failure_of_before_is_not_told_as_the_cause_of_today(tmp_path, monkeypatch, script, told):
    """Where dvc itself fails, no stage has said anything, and `.millrace/status.json` is of another day."""
    monkeypatch.chdir(tmp_path)
    status = tmp_path / paths.STATE_DIR / "status.json"
    status.parent.mkdir()
    status.write_text('{"stage": "features", "exit_code": 66}')
    os.utime(status, (0, 0))
    program = tmp_path / "dvc"
    said = script.format(status='{"stage": "train", "exit_code": 65}', file=status)
    program.write_text(f"#!/bin/sh\n{said}\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    failure = repro._dvc("dvc", [])
    assert told == (failure.stage, failure.exit_code)
