"""A stage is alone, reads inputs that stay as they are, and ends with a clear code."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from pipeline.retraining.children import Children
from pipeline.runtime import paths
from pipeline.runtime.errors import (
    Busy,
    DataRefused,
    InputMissing,
    Misconfigured,
    ParamsError,
    ServiceDown,
    Terminated,
)
from pipeline.runtime.repository import dvc_waits
from pipeline.runtime.stage import KILLED, Snapshot, declared_inputs, exit_codes
from tests.conftest import ROOT

BODY = """
import sys, time
from pathlib import Path
from pipeline.runtime.stage import running_stage
with running_stage("split"):
    print("started", flush=True)
    {body}
"""


@pytest.fixture
def inputs(project):
    """The project with files where stage `split` reads some."""
    for path in map(Path, declared_inputs("split").dependencies):
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("content")
    return project


def start(body, environment, **settings):
    """Start a stage whose body is `body` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", BODY.format(body=body)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **settings,
    )


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (DataRefused("x"), 65),
        (InputMissing("x"), 66),
        (FileNotFoundError("x"), 66),
        (ServiceDown("x"), 69),
        (RuntimeError("x"), 70),
        (OSError("x"), 74),
        (Busy("x"), 75),
        (PermissionError("x"), 77),
        (MemoryError(), 74),
        (type("ResourceExhaustedError", (Exception,), {})("OOM when allocating tensor"), 74),
        (Misconfigured("x"), 78),
        (ParamsError(["x"]), 78),
        (KeyboardInterrupt(), 130),
        (Terminated("x"), 143),
    ],
)
def test_each_kind_of_failure_has_its_exit_code(tmp_path, monkeypatch, capsys, raised, code):
    """The exit code, the status file and the last line on stderr agree."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught, exit_codes("split"):
        raise raised
    assert code == caught.value.code
    assert code == json.loads((tmp_path / ".millrace/status.json").read_text())["exit_code"]
    last = capsys.readouterr().err.splitlines()[-1]
    assert f"exit code {code} " in last


def test_no_traceback_for_a_users_mistake(inputs, stage_environment):
    """A missing input is a sentence, not a traceback."""
    (inputs / paths.SAMPLES_PARQUET).unlink()
    process = start("pass", stage_environment)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 66
    assert "samples.parquet does not exist" in error
    assert "Traceback" not in error


def test_an_input_edited_during_the_run_fails_the_stage(inputs, stage_environment):
    """DVC hashes inputs after the command; an edit in between must not be recorded with the old result."""
    process = start("time.sleep(1.5)", stage_environment)
    process.stdout.readline()
    (inputs / paths.SAMPLES_PARQUET).write_text("edited meanwhile")
    _, error = process.communicate(timeout=60)
    assert process.returncode == 75
    assert "data/interim/samples.parquet changed while the stage ran" in error


def test_a_parameter_edited_during_the_run_fails_the_stage(inputs, stage_environment):
    """The same for a value in params.yaml that the stage declares; others may change."""
    params = inputs / "params.yaml"
    process = start("time.sleep(1.5)", stage_environment)
    process.stdout.readline()
    params.write_text(params.read_text().replace("salt: millrace", "salt: other"))
    _, error = process.communicate(timeout=60)
    assert process.returncode == 75
    assert "params.yaml:split changed" in error


def test_an_unrelated_parameter_may_change_during_the_run(inputs, stage_environment):
    """Editing what the stage does not read does not disturb it."""
    params = inputs / "params.yaml"
    process = start("time.sleep(1.0)", stage_environment)
    process.stdout.readline()
    params.write_text(params.read_text().replace("epochs: 60 ", "epochs: 61 "))
    process.communicate(timeout=60)
    assert process.returncode == 0


def test_a_second_writer_is_refused(inputs, stage_environment, monkeypatch):
    """While a stage runs, the same stage does not start beside it."""
    first = start("time.sleep(30)", stage_environment)
    first.stdout.readline()
    second = start("pass", stage_environment)
    _, error = second.communicate(timeout=60)
    first.kill()
    first.communicate()
    assert second.returncode == 75
    assert "split is already running" in error


def test_the_lock_goes_with_its_holder(inputs, stage_environment):
    """After kill -9 of the holder the next start gets the lock at once."""
    first = start("time.sleep(30)", stage_environment)
    first.stdout.readline()
    first.send_signal(signal.SIGKILL)
    first.communicate()
    second = start("pass", stage_environment)
    second.communicate(timeout=60)
    assert second.returncode == 0


def test_the_lock_goes_with_a_stage_that_fails(inputs, stage_environment):
    """Though somebody in the same process still holds its error, and with that every frame it passed."""
    script = (
        "from pipeline.runtime.stage import running_stage\n"
        "kept = []\n"
        "def fail():\n"
        "    with running_stage('split'):\n"
        "        raise ValueError\n"
        "for _ in range(2):\n"
        "    try:\n"
        "        fail()\n"
        "    except SystemExit as error:\n"
        "        kept.append(error)\n"
        "print([error.code for error in kept])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env=stage_environment, capture_output=True, text=True, check=False
    )
    assert done.stdout == "[70, 70]\n", done.stderr


def test_a_stage_dies_with_the_process_that_started_it(inputs, stage_environment):
    """kill -9 of the parent (DVC) leaves no stage running."""
    script = BODY.format(body="time.sleep(60)")
    parent_code = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-c', {script!r}], stdout=subprocess.PIPE, text=True)\n"
        "child.stdout.readline(); print(child.pid, flush=True); time.sleep(60)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", parent_code], env=stage_environment, stdout=subprocess.PIPE, text=True
    )
    child = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 10
    while alive(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(child)


def alive(pid):
    """Tell whether a process runs; a zombie does not."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_damaged_cache_object_is_noticed(inputs, stage_environment):
    """An input whose bytes are not those dvc.lock recorded stops the stage that would read it."""
    (inputs / "dvc.lock").write_text(
        "schema: '2.0'\nstages:\n  ingest:\n    cmd: x\n    outs:\n"
        "    - path: data/interim/samples.parquet\n      hash: md5\n      md5: 9a0364b9e99bb480dd25e1f0284c8555\n"
    )
    healthy = start("pass", stage_environment | {"DVC_STAGE": "split"})
    healthy.communicate(timeout=60)
    (inputs / paths.SAMPLES_PARQUET).write_text("contenT")
    damaged = start("pass", stage_environment | {"DVC_STAGE": "split"})
    _, error = damaged.communicate(timeout=60)
    assert (healthy.returncode, damaged.returncode) == (0, 74)
    assert "samples.parquet differ" in error


def test_a_lock_that_dvc_is_writing_is_read_when_it_is_whole(inputs, stage_environment):
    """Another dvc writes dvc.lock in place, under its own lock: half of it would hide what is damaged, or stop us."""
    whole = (
        "schema: '2.0'\nstages:\n  ingest:\n    cmd: x\n    outs:\n"
        f"    - path: {paths.SAMPLES_PARQUET}\n      hash: md5\n      md5: 9a0364b9e99bb480dd25e1f0284c8555\n"
    )
    (inputs / paths.SAMPLES_PARQUET).write_text("contenT")
    with dvc_waits():
        (inputs / "dvc.lock").write_text("schema: '2.0'\n")
        stage = start("pass", stage_environment | {"DVC_STAGE": "split"})
        with pytest.raises(subprocess.TimeoutExpired):
            stage.wait(timeout=3)
        (inputs / "dvc.lock").write_text(whole)
    _, error = stage.communicate(timeout=60)
    assert 74 == stage.returncode
    assert "samples.parquet differ" in error


def test_no_stage_runs_where_others_can_plant_pickles_for_dvc(inputs, stage_environment):
    """A place that everybody can write to: 77 under DVC, and no matter without it."""
    shared = Path(tempfile.mkdtemp(prefix="millrace-"))
    shared.chmod(0o777)
    public = stage_environment | {"DVC_SITE_CACHE_DIR": str(shared)}
    under_dvc, alone = start("pass", public | {"DVC_STAGE": "split"}), start("pass", public)
    _, error = under_dvc.communicate(timeout=60)
    alone.communicate(timeout=60)
    shared.rmdir()
    assert (77, 0) == (under_dvc.returncode, alone.returncode)
    assert f"DVC keeps pickles in {shared}" in error


def test_leftovers_of_removed_candidates_in_dvc_lock_do_not_matter(inputs, stage_environment):
    """DVC never forgets the entry of a removed candidate; its missing model is no damage."""
    for name in ("cnn", "linear"):
        (inputs / paths.tuned_dir(name)).mkdir(parents=True)
    (inputs / "dvc.lock").write_text(
        "schema: '2.0'\nstages:\n  tune@old:\n    cmd: x\n    outs:\n"
        "    - path: models/tuned/old\n      hash: md5\n      md5: 9a0364b9e99bb480dd25e1f0284c8555.dir\n"
    )
    snapshot = Snapshot("evaluate", {"models/tuned": "x"}, {}, {})
    assert snapshot.differing_from_lock() == []


def test_code_edited_while_the_stage_starts_is_noticed(inputs, stage_environment):
    """Python may have read the older code already, so nothing is recorded."""
    started = time.time()
    (inputs / "pipeline/splits/by_hash.py").write_text(
        (inputs / "pipeline/splits/by_hash.py").read_text() + "\n# edited\n"
    )
    process = start("pass", stage_environment | {"MILLRACE_STARTED": str(started - 1)})
    _, error = process.communicate(timeout=60)
    assert process.returncode == 75
    assert "pipeline/splits/by_hash.py changed while the stage started" in error


def test_an_edit_below_a_folder_of_code_is_noticed_and_compiled_files_are_not(project):
    """A dependency may be a folder: the file in it is named, and what Python compiles beside it is no edit."""
    for name in (
        "data/interim/samples.parquet",
        "data/validate/duplicates.parquet",
        "reports/validate/summary.json",
    ):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text("content")
    started = time.time() - 1
    for old in (project / "pipeline").rglob("*.py"):
        os.utime(old, (started - 60, started - 60))
    compiled = project / "pipeline/splits/__pycache__/by_hash.cpython-311.pyc"
    compiled.parent.mkdir(exist_ok=True)
    compiled.write_bytes(b"compiled")
    assert [] == Snapshot.take("split").edited_since(started)
    snapshot = Snapshot.take("split")
    compiled.write_bytes(b"compiled again")
    assert [] == snapshot.changed()
    with (project / "pipeline/splits/by_hash.py").open("a") as file:
        file.write("# edited\n")
    assert ["pipeline/splits"] == snapshot.changed()
    assert ["pipeline/splits/by_hash.py"] == Snapshot.take("split").edited_since(started)


def test_the_whole_of_params_yaml_is_an_input_of_check(project):
    """Editing any parameter while `check` runs is noticed: it read the older file."""
    snapshot = Snapshot.take("check")
    params = project / "params.yaml"
    params.write_text(params.read_text().replace("epochs: 60 ", "epochs: 61 "))
    assert snapshot.changed() == ["params.yaml"]


def test_sigterm_ends_with_143(inputs, stage_environment):
    """SIGTERM is answered with the shell's code and a status file."""
    process = start("time.sleep(30)", stage_environment)
    process.stdout.readline()
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 143
    assert json.loads((inputs / ".millrace/status.json").read_text())["exit_code"] == 143


def test_the_launcher_needs_no_activated_environment(inputs):
    """`pipeline/run` finds .venv/bin/python without VIRTUAL_ENV, and replaces itself by it."""
    (inputs / ".venv/bin").mkdir(parents=True)
    (inputs / ".venv/bin/python").symlink_to(sys.executable)
    (inputs / "pipeline/stages/hello.py").write_text(
        "import os\nprint(os.environ['MILLRACE_PARENT'], os.getppid())\n"
    )
    # Nor does it find another package called pipeline.
    (inputs / "other/pipeline").mkdir(parents=True)
    (inputs / "other/pipeline/__init__.py").write_text("raise SystemExit('not ours')\n")
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    environment |= {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(inputs / "other"), "PYTHONSAFEPATH": "1"}
    done = subprocess.run(
        ["pipeline/run", "hello"], env=environment, capture_output=True, text=True, check=False
    )
    told, real = done.stdout.split()
    assert told == real == str(os.getpid())


@pytest.mark.long
def test_tensorflow_starts_lean_and_leaves_no_trace(stage_environment):
    """pandas, matplotlib and scikit-learn stay out of the import of TensorFlow and still work afterwards."""
    code = (
        "import sys\nfrom pipeline.inference.backend import prepare_tensorflow\nprepare_tensorflow(1, 0)\n"
        "print([name for name in ('pandas', 'sklearn', 'matplotlib') if name in sys.modules])\n"
        "import pandas, keras\nprint(pandas.DataFrame({'a': [1]}).a.sum(), keras.layers.Dense(2).units)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=stage_environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["[]", "1 2"]


def test_memory_that_ran_out_is_no_bug(tmp_path, monkeypatch, capsys):
    """NumPy's error is a MemoryError; TensorFlow has one of its own. The message says what can be made smaller."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit), exit_codes("train@cnn"):
        np.empty(1 << 60, dtype=np.uint8)
    said = capsys.readouterr().err
    assert "training.batch_size" in said
    assert "bug" not in said
    assert "Unable to allocate" in said


def test_a_killed_stage_leaves_no_older_ok(tmp_path, monkeypatch):
    """kill -9 runs no code of ours, and the kernel does it where memory runs out: what stood there before is gone."""
    monkeypatch.chdir(tmp_path)
    with exit_codes("split"):
        pass
    assert "ok" == json.loads((tmp_path / ".millrace/status.json").read_text())["message"]
    code = "import os; from pipeline.runtime.stage import exit_codes\nwith exit_codes('train@cnn'): os.kill(os.getpid(), 9)"
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert -signal.SIGKILL == done.returncode
    status = json.loads((tmp_path / ".millrace/status.json").read_text())
    assert ("train@cnn", 137) == (status["stage"], status["exit_code"])
    assert "memory" in status["message"]


def test_a_killed_stage_is_a_pause_for_a_retrain(tmp_path):
    """The journal knows what is finished; 137 alone would begin anew."""
    (tmp_path / ".millrace").mkdir()
    status = {"stage": "train@cnn", "exit_code": KILLED, "message": "It was killed."}
    (tmp_path / ".millrace/status.json").write_text(json.dumps(status))
    failure = Children(tmp_path, tmp_path).failure("dvc repro evaluate")
    assert (74, "train@cnn: It was killed.") == (failure.exit_code, str(failure))
