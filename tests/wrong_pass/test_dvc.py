"""What DVC records and restores although it is not so; the frame around every stage refuses it."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.retraining.children import Children
from pipeline.retraining.retrain import Wishes, refuse_drifted_data
from pipeline.retraining.triggers import load_settings
from pipeline.runtime import repository
from pipeline.runtime.errors import ServiceDown
from pipeline.runtime.strict_yaml import read_yaml
from tests.helpers.dvc_project import init_dvc
from tests.runtime.test_stage import BODY

PLAIN_STAGES = """stages:
  make:
    cmd: sh -c "cp in.txt out.txt; sleep 2"
    deps: [in.txt]
    outs: [out.txt]
"""
SEPARATE = {"GIT_CONFIG_GLOBAL": os.devnull}


def run(folder, *command, **settings):
    """Run a command in a folder and return its output."""
    done = subprocess.run(
        command, cwd=folder, env=os.environ | SEPARATE, capture_output=True, text=True, check=True, **settings
    )
    return done.stdout


@pytest.fixture
def plain(tmp_path):
    """A plain DVC project of one stage that copies a file and takes two seconds."""
    folder = tmp_path / "plain"
    folder.mkdir()
    (folder / "dvc.yaml").write_text(PLAIN_STAGES)
    (folder / "in.txt").write_text("one")
    init_dvc(folder, no_scm=True, site_cache_dir=str(tmp_path / "site"))
    return folder


def millrace_stage(project, body):
    """Start a stage of Millrace with this body, once it runs."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DVC_")}
    process = subprocess.Popen(
        [sys.executable, "-c", BODY.format(body=body)],
        cwd=project,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stdout.readline()
    return process


@pytest.fixture
def inputs(project):
    """The project with files where stage `split` reads some."""
    from pipeline.runtime.stage import declared_inputs

    for path in map(Path, declared_inputs("split").dependencies):
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("content")
    return project


@pytest.mark.long
def test_an_input_edited_while_a_stage_runs(plain, inputs):
    """A dependency is edited between the start and the end of its stage.

    Plain: DVC hashes dependencies afterwards, records the new input for the old output, and `dvc status` is content.
    Millrace: the stage hashed its inputs when it began, sees the change and fails with exit code 75.
    """
    repro = subprocess.Popen(["dvc", "repro", "-q"], cwd=plain, env=os.environ | SEPARATE)
    while not (plain / "out.txt").exists():
        time.sleep(0.05)
    (plain / "in.txt").write_text("two")
    assert repro.wait(60) == 0
    assert "up to date" in run(plain, "dvc", "status")
    assert (plain / "out.txt").read_text() == "one"

    stage = millrace_stage(inputs, "time.sleep(1.5)")
    (inputs / "data/interim/samples.parquet").write_text("edited meanwhile")
    _, error = stage.communicate(timeout=60)
    assert stage.returncode == 75
    assert "changed while the stage ran" in error


@pytest.mark.long
def test_an_orphaned_stage(plain, inputs):
    """`dvc repro` is killed while a stage runs.

    Plain: the command lives on, and the next `dvc repro` starts a second writer beside it.
    Millrace: the stage dies with its parent and holds a lock; a second one is refused.
    """
    (plain / "dvc.yaml").write_text(PLAIN_STAGES.replace("sleep 2", "sleep 5; touch still-alive"))
    repro = subprocess.Popen(["dvc", "repro", "-q"], cwd=plain, env=os.environ | SEPARATE)
    while not (plain / "out.txt").exists():
        time.sleep(0.05)
    repro.kill()
    repro.wait(10)
    deadline = time.monotonic() + 20
    while not (plain / "still-alive").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert (plain / "still-alive").exists()

    first = millrace_stage(inputs, "time.sleep(30)")
    second = millrace_stage(inputs, "pass")
    _, error = second.communicate(timeout=60)
    first.kill()
    first.communicate()
    assert second.returncode == 75
    assert "already running" in error


@pytest.mark.long
def test_a_cache_object_with_other_bytes(plain, inputs):
    """An object of DVC's cache was damaged on the disk, its date unchanged.

    Plain: `dvc checkout` puts the damaged bytes into place and `dvc status` is content.
    Millrace: the stage that would read them compares with dvc.lock first and stops with exit code 74.
    """
    run(plain, "dvc", "repro", "-q")
    (cached,) = [path for path in (plain / ".dvc/cache/files").rglob("*") if path.is_file()]
    before = cached.stat()
    cached.chmod(0o644)
    cached.write_text("0ne")
    os.utime(cached, ns=(before.st_atime_ns, before.st_mtime_ns))
    cached.chmod(0o444)
    (plain / "out.txt").unlink()
    run(plain, "dvc", "checkout", "-q")
    assert (plain / "out.txt").read_text() == "0ne"
    assert "up to date" in run(plain, "dvc", "status")

    (inputs / "dvc.lock").write_text(
        "schema: '2.0'\nstages:\n  ingest:\n    cmd: x\n    outs:\n"
        "    - path: data/interim/samples.parquet\n      hash: md5\n      md5: 00000000000000000000000000000000\n"
    )
    os.environ["DVC_STAGE"] = "split"
    try:
        done = subprocess.run(
            [sys.executable, "-c", BODY.format(body="pass")],
            cwd=inputs,
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        del os.environ["DVC_STAGE"]
    assert done.returncode == 74
    assert "samples.parquet differ" in done.stderr


@pytest.mark.long
def test_a_remote_that_does_not_answer(plain):
    """What a retrain compares new data with lies at a DVC remote that is down.

    Plain: `dvc fetch` says that files are missing, as if nobody had ever pushed them, and ends with exit code 0.
    Millrace: looks at what arrived, ends with exit code 69 and asks again; nothing is taken for free of drift.
    """
    run(plain, "dvc", "repro", "-q")
    run(plain, "dvc", "remote", "add", "-q", "--default", "down", "http://127.0.0.1:9/objects")
    shutil.rmtree(plain / ".dvc/cache")
    (plain / "out.txt").unlink()
    run(plain, "dvc", "fetch")  # would raise for any other exit code
    tree = plain / "tree"
    shutil.copytree(plain / ".dvc", tree / ".dvc")
    for name in ("dvc.yaml", "dvc.lock", "in.txt"):
        shutil.copy(plain / name, tree / name)
    (tree / repository.DVC_CONFIG_LOCAL).write_text(repository.dvc_config_for(plain, tree))
    children = Children(plain, tree)
    children.dvc("fetch", "out.txt")
    (md5,) = [out["md5"] for out in read_yaml(tree / "dvc.lock")["stages"]["make"]["outs"]]
    assert repository.cached(tree, md5) is None
    looked = {"drift": {"verdict": "unknown", "skipped": ["nothing came"], "asked_remote": True}}
    with pytest.raises(ServiceDown, match="the next retrain asks it again"):
        refuse_drifted_data(looked, load_settings().drift, Wishes())
