"""Jobs on a Ray cluster end as they do here."""

import asyncio
import functools
import os
import subprocess
import sys
import time
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import yaml

from pipeline.engine import ray as on_ray
from pipeline.engine.ray import Ray
from pipeline.provenance.processor import processor_kind
from pipeline.runtime.errors import Busy, InputMissing, NotPermitted, ServiceDown
from pipeline.tuning.trials import Rung, TrialOutcome
from pipeline.tuning.workers import TrialWorkers
from tests.helpers.fake_trials import open_fake
from tests.helpers.ray_cluster import ROOT, cluster

SAMPLED = {"training.learning_rate": 0.01, "model.units": 16}


def open_environment():
    """Return a job that says in which folder and with which variables it runs, and changes its files."""

    def do(_given, folder: Path) -> tuple[list[str], str | None]:
        (folder / "old").unlink()
        (folder / "below").mkdir()
        (folder / "below/new").write_bytes(b"")
        return sorted(path.name for path in Path().glob("*.txt")), os.environ.get("OMP_NUM_THREADS")

    return do


@pytest.fixture
def process(monkeypatch, tmp_path):
    """This process as if a cluster had started it."""
    monkeypatch.setattr(on_ray, "_OPENED", [])
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # as Ray sets it
    yield tmp_path
    for opened in on_ray._OPENED:
        opened.workers.__exit__(None, None, None)


def kind(lock: str, processor: str = "", **switches: str):
    return on_ray._Kind("key", open_environment, lock, processor or processor_kind(), switches)


LOCKED = f"numpy=={version('numpy')}\n"


@pytest.mark.parametrize("switches", [{}, {"OMP_NUM_THREADS": "7"}])
def test_a_task_sees_our_files_and_our_variables(process, switches):
    """What chooses kernels is as it is here; the files of the job come back as it left them, and no others."""
    needs = {"given.txt": np.frombuffer(b"yes", np.uint8)}
    job = on_ray.Job("a job", None)
    work = (job, {"old": np.frombuffer(b"1", np.uint8), "kept": np.frombuffer(b"22", np.uint8)})
    ended, files = on_ray._do((kind(LOCKED, **switches), needs), work, None, 0)
    assert (["given.txt"], switches.get("OMP_NUM_THREADS")) == ended.value
    assert {"kept": b"22", "below/new": b""} == {name: content.tobytes() for name, content in files.items()}


def test_a_machine_with_other_packages_gets_no_work(process):
    """77, before anything is opened."""
    with pytest.raises(NotPermitted, match="Received: numpy: 0 locked") as error:
        on_ray._do((kind("numpy==0\n"), {}), (on_ray.Job("a job", None), {}), None, 0)
    assert 77 == error.value.exit_code
    assert [] == on_ray._OPENED


def test_a_machine_of_another_kind_that_joins_later_gets_no_work(process):
    """77: those that were there were asked before."""
    with pytest.raises(NotPermitted, match=r"another kind. Expected x86_64: none\. Received: ") as error:
        on_ray._do((kind(LOCKED, processor="x86_64: none"), {}), (on_ray.Job("a job", None), {}), None, 0)
    assert 77 == error.value.exit_code
    assert [] == on_ray._OPENED


def test_an_installed_wheel_says_that_a_cluster_needs_a_clone(monkeypatch, tmp_path):
    """66, before anything is connected: a wheel has no requirements.lock."""
    monkeypatch.setattr(on_ray, "LOCK", tmp_path / "requirements.lock")
    monkeypatch.setattr(on_ray, "_reached", None)
    with Ray("ray://127.0.0.1:1").workers(open_environment, num_workers=1) as workers:
        with pytest.raises(InputMissing, match="Expected a clone of the project"):
            list(workers.run([on_ray.Job("a job", None)]))


def test_a_head_that_dies_while_it_is_asked_is_a_cluster_that_is_gone(monkeypatch):
    """69: Ray's client has no other words for it than a bare exception; what is a class of its own passes."""
    pytest.importorskip("ray")
    monkeypatch.setattr(on_ray, "_connect", lambda _ray, _address: None)
    with pytest.raises(ServiceDown, match=r"does not answer.*Client Wait request failed"):
        with on_ray._reached("ray://127.0.0.1:1"):
            raise Exception("Client Wait request failed. Reference invalid?")
    with pytest.raises(ZeroDivisionError), on_ray._reached("ray://127.0.0.1:1"):
        raise ZeroDivisionError


def test_a_reader_that_went_away_is_no_cluster_that_is_gone(monkeypatch):
    """`millrace repro --on ... | head`: what is said here has nobody to read it, and the head is fine."""
    monkeypatch.setattr("ray.is_initialized", lambda: True)
    with pytest.raises(BrokenPipeError), on_ray._reached("ray://127.0.0.1:1"):
        raise BrokenPipeError(32, "Broken pipe")


def test_a_machine_that_has_died_a_moment_ago_is_passed_over(monkeypatch):
    """Its head does not know it yet, and a task for it cannot be placed."""
    pytest.importorskip("ray")
    fake = FakeCluster(
        ("end", 0, FakeCluster.exceptions.TaskUnschedulableError()), ("end", 1, "x86_64: avx2")
    )
    fake.nodes = lambda: [
        {"Alive": alive, "NodeID": number * 28, "NodeManagerAddress": "10.0.0.1", "Resources": {"CPU": 2.0}}
        for alive, number in ((True, "a1"), (False, "b2"), (True, "c3"))
    ]
    events = iter(fake.events)

    def get(_task):
        fake.event = next(events)
        return FakeCluster.get(fake, None)

    fake.get = get
    fake.remote = lambda **_: (
        lambda _: SimpleNamespace(options=lambda **_: SimpleNamespace(remote=lambda _: "a task"))
    )
    assert [on_ray.Machine("10.0.0.1 (c3c3c3c3)", 2.0, "x86_64: avx2")] == on_ray._asked(
        fake, processor_kind, ""
    )


def test_machines_of_one_kind_are_fit_and_of_several_are_refused():
    """77, or bits would depend on who was free; a head that takes no jobs may be of any kind."""
    alike = [on_ray.Machine("a", 2.0, "x86_64: avx2"), on_ray.Machine("b", 2.0, "x86_64: avx2")]
    head = on_ray.Machine("head", 0.0, "aarch64: sve")
    assert "x86_64: avx2" == on_ray._require_fit("ray://a:1", [head, *alike], 2)
    with pytest.raises(NotPermitted, match=r"Received: b: x86_64: avx2; c: x86_64: avx2 avx512f"):
        on_ray._require_fit("ray://a:1", [*alike, on_ray.Machine("c", 2.0, "x86_64: avx2 avx512f")], 2)
    with pytest.raises(Busy, match=r"Expected 3 cores for one job .* Received: 2 at most"):
        on_ray._require_fit("ray://a:1", alike, 3)


def test_folders_of_processes_that_are_gone_are_removed(process):
    """Those of living ones stay."""
    gone = subprocess.Popen(["true"])
    gone.wait()
    names = [f"millrace-{os.getuid()}-{pid}-x" for pid in (gone.pid, os.getpid())]
    for name in names:
        (process / name).mkdir()
    mine = on_ray._own_folder()
    assert {names[1], mine.name} == {path.name for path in process.iterdir()}


class FakeCluster:
    """Stands for the module of Ray, and a cluster on which happens what a test says, in this order.

    Args:
        events: ("letter", number of the task, files) or ("end", number of the task, its answer or how it was lost).
    """

    exceptions = SimpleNamespace(
        **{
            name: type(name, (Exception,), {})
            for name in (
                "WorkerCrashedError",
                "NodeDiedError",
                "ObjectLostError",
                "OutOfMemoryError",
                "TaskUnschedulableError",
            )
        }
    )

    def __init__(self, *events):
        self.events = list(events)
        self.begun = []
        self.cancelled = []

    def put(self, value):
        return value

    def remote(self, **_options):
        return lambda what: SimpleNamespace(remote=self.mail if what is on_ray._Mail else self.begin)

    def mail(self):
        return SimpleNamespace(next=SimpleNamespace(remote=lambda: "letter"))

    def begin(self, _shared, work, mail, number):
        self.begun.append((work, mail, number))
        return number

    def wait(self, waiting, num_returns):
        self.event = self.events.pop(0)
        what, number, _ = self.event
        first = "letter" if what == "letter" else number
        assert first in waiting
        return [first], waiting

    def get(self, _first):
        what, number, content = self.event
        if isinstance(content, Exception):
            raise content
        return (number, content) if what == "letter" else content

    def cancel(self, task, force):
        self.cancelled.append(task)


LOST = [FakeCluster.exceptions.NodeDiedError(), FakeCluster.exceptions.OutOfMemoryError()]


@pytest.fixture
def on_cluster(monkeypatch):
    """Return what runs jobs on such a cluster, and yields how they ended."""

    def run(fake, *jobs):
        monkeypatch.setattr(on_ray, "_reached", lambda _address: nullcontext(fake))
        monkeypatch.setattr(on_ray.RayWorkers, "_share", lambda *_: None)
        with Ray("ray://127.0.0.1:1").workers(open_environment, num_workers=1) as workers:
            yield from workers.run(jobs)

    return run


def as_files(**texts):
    return {name: np.frombuffer(text.encode(), np.uint8) for name, text in texts.items()}


def read(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


DONE = on_ray.Ended("done")


def test_files_of_a_job_that_runs_come_here(on_cluster, tmp_path):
    """Each time its owner is told; what it brings at its end replaces them."""
    seen = []
    job = on_ray.Job("a job", None, tmp_path / "job", on_files=lambda: seen.append(read(tmp_path / "job")))
    fake = FakeCluster(
        ("letter", 0, as_files(checkpoint="1")),
        ("letter", 0, as_files(checkpoint="2", live="2")),
        ("end", 0, (DONE, as_files(model="3"))),
    )
    assert [(0, DONE)] == list(on_cluster(fake, job))
    assert [{"checkpoint": "1"}, {"checkpoint": "2", "live": "2"}] == seen
    assert {"model": "3"} == read(tmp_path / "job")


@pytest.mark.parametrize("lost", LOST)
def test_a_job_whose_machine_is_lost_begins_again_with_the_files_that_came(
    on_cluster, tmp_path, capsys, lost
):
    """Which is said; the other job is not begun again, and what the lost machine sent later is of no use."""
    seen = []
    jobs = [
        on_ray.Job(name, None, tmp_path / name, on_files=lambda: seen.append(read(tmp_path / "a")))
        for name in ("a", "b")
    ]
    fake = FakeCluster(
        ("letter", 0, as_files(checkpoint="1")),
        ("end", 0, lost),
        ("letter", 0, as_files(checkpoint="late")),
        ("end", 1, (DONE, {})),
        ("end", 2, (DONE, as_files(model="3"))),
    )
    assert [(1, DONE), (0, DONE)] == list(on_cluster(fake, *jobs))
    assert [{}, {}, {"checkpoint": b"1"}] == [
        {name: content.tobytes() for name, content in given.items()} for (_, given), _, _ in fake.begun
    ]
    assert [{"checkpoint": "1"}] == seen
    assert {"model": "3"} == read(tmp_path / "a")
    assert f"a was lost there ({type(lost).__name__})" in capsys.readouterr().err


def test_a_machine_that_is_lost_twice_is_told_and_the_files_stay(on_cluster, tmp_path):
    """69: the same command goes on from them; other jobs are stopped."""
    jobs = [on_ray.Job(name, None, tmp_path / name) for name in ("a", "b")]
    fake = FakeCluster(("end", 0, LOST[0]), ("letter", 2, as_files(checkpoint="1")), ("end", 2, LOST[0]))
    with pytest.raises(ServiceDown, match="a lost its machine twice") as error:
        list(on_cluster(fake, *jobs))
    assert 69 == error.value.exit_code
    assert [1] == fake.cancelled
    assert {"checkpoint": "1"} == read(tmp_path / "a")


def test_a_job_for_which_memory_ran_out_twice_has_failed(on_cluster, tmp_path):
    """As one that the kernel killed here; the next one is done."""
    jobs = [on_ray.Job(name, None, tmp_path / name) for name in ("a", "b")]
    fake = FakeCluster(("end", 0, LOST[1]), ("end", 2, LOST[1]), ("end", 1, (DONE, {})))
    failed, done = on_cluster(fake, *jobs)
    assert (0, 74, "the process was killed by SIGKILL (out of memory?)") == (
        failed[0],
        failed[1].exit_code,
        failed[1].error,
    )
    assert (1, DONE) == done


def test_jobs_without_files_have_no_mail(on_cluster):
    """Answers for records: nothing is started for them."""
    fake = FakeCluster(("end", 0, (DONE, {})))
    assert [(0, DONE)] == list(on_cluster(fake, on_ray.Job("a job", None)))
    assert [None] == [mail for _, mail, _ in fake.begun]


def test_who_sends_files_waits_until_they_were_laid():
    """That is when the next ones are asked for; each is told its own."""

    async def exchange():
        mail = on_ray._Mail()
        asked = asyncio.create_task(mail.next())
        senders = [asyncio.create_task(mail.send(number, as_files(file=str(number)))) for number in (0, 1)]
        states = []
        for _ in senders:
            number, _ = await asked
            await asyncio.sleep(0.01)
            states.append((number, [sender.done() for sender in senders]))
            asked = asyncio.create_task(mail.next())
        await asyncio.gather(*senders)
        asked.cancel()
        return states

    assert [(0, [False, False]), (1, [True, False])] == asyncio.run(exchange())


@pytest.mark.ray
@pytest.mark.long
def test_a_trial_on_a_cluster_ends_as_it_does_here(tmp_path: Path) -> None:
    """Start, trials that end well, raise, are killed once and for ever, stop: with one machine and the same outcomes."""
    behaviour = {"2": "raise", "3": "kill once", "4": "kill"}
    opener = functools.partial(open_fake, tmp_path / "log.txt", 0.0)

    def outcomes(folder: Path, engine: Ray | None) -> list[TrialOutcome]:
        rungs = [
            Rung(number, SAMPLED, {"behaviour": behaviour}, 5, folder / str(number))
            for number in (1, 2, 3, 4)
        ]
        with TrialWorkers(opener, num_workers=1, trial_limit_seconds=20.0, engine=engine) as workers:
            return workers(rungs, lambda _rung, _outcome: None)

    with cluster(nodes=1) as found:
        there = outcomes(tmp_path / "there", Ray(found.address))
    here = outcomes(tmp_path / "here", None)
    assert ["", "ValueError: units must fit.", "", "the process was killed by SIGKILL (out of memory?)"] == [
        outcome.error for outcome in there
    ]
    assert [(one.score, one.metrics, one.error) for one in here] == [
        (one.score, one.metrics, one.error) for one in there
    ]
    assert {path.relative_to(tmp_path / "here") for path in (tmp_path / "here").rglob("*")} == {
        path.relative_to(tmp_path / "there") for path in (tmp_path / "there").rglob("*")
    }


PARENT = """
import functools, sys
from pathlib import Path
from pipeline.engine.ray import Ray
from pipeline.tuning.trials import Rung
from pipeline.tuning.workers import TrialWorkers
from tests.helpers.fake_trials import open_fake

if __name__ == "__main__":
    folder = Path(sys.argv[2])
    opener = functools.partial(open_fake, folder / "log.txt", 600.0)
    with TrialWorkers(opener, num_workers=1, trial_limit_seconds=20.0, engine=Ray(sys.argv[1])) as workers:
        workers([Rung(1, {}, {}, 5, folder / "1")], print)
"""


@pytest.mark.ray
@pytest.mark.slow
def test_nothing_runs_on_for_a_parent_that_is_gone(tmp_path: Path) -> None:
    """After kill -9 of the search its trial ends on the cluster too, and so does the process that Ray ran it in."""
    (tmp_path / "parent.py").write_text(PARENT)
    with cluster(nodes=1) as found:
        command = [sys.executable, str(tmp_path / "parent.py"), found.address, str(tmp_path)]
        parent = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)})
        while not (tmp_path / "log.txt").exists():
            assert parent.poll() is None
            time.sleep(0.1)
        trial = psutil.Process(int((tmp_path / "log.txt").read_text().split()[2]))
        ours = [trial, trial.parent()]
        parent.kill()
        parent.wait()
        _, alive = psutil.wait_procs(ours, timeout=300)
        assert [] == alive


def test_the_manifest_asks_for_the_version_that_is_locked():
    """Client and cluster must be of one version of Ray; the token is on."""
    spec = yaml.safe_load((ROOT / "examples/cluster/raycluster.yaml").read_text())["spec"]
    lock = (ROOT / "requirements.lock").read_text()
    assert f"\nray=={spec['rayVersion']} " in lock
    assert {"mode": "token"} == spec["authOptions"]


def test_the_manifest_has_probes_of_its_own():
    """Those that KubeRay puts where there are none ask Ray's dashboard, which our lock does not hold."""
    spec = yaml.safe_load((ROOT / "examples/cluster/raycluster.yaml").read_text())["spec"]
    groups = [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
    probes = [
        container[probe]["exec"]["command"]
        for group in groups
        for container in group["template"]["spec"]["containers"]
        for probe in ("livenessProbe", "readinessProbe")
    ]
    assert [["ray", "health-check"]] * 4 == probes
