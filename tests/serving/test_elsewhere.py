"""Answers on an engine are those of this process, in the order of the records, and none is asked twice."""

import io
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from pipeline.commands import predict
from pipeline.engine.local import LocalWorkers
from pipeline.engine.work import Ended, Job
from pipeline.runtime.errors import NotPermitted, ProgramFailed
from pipeline.serving.answer_files import Parts
from pipeline.serving.elsewhere import answered_elsewhere, lines_of, open_answers
from pipeline.serving.record_files import Given
from pipeline.serving.scorer import Scorer
from tests.helpers.fake_engine import FakeEngine
from tests.helpers.ray_cluster import cluster
from tests.helpers.served_models import DIGITS, write_model


class Backwards(FakeEngine):
    """An engine whose last job ends first, in this process; counts its jobs."""

    def __init__(self):
        self.jobs = 0

    def __enter__(self):
        os.chdir(self.asked["root"])
        self.do = self.opener()
        return self

    def run(self, jobs):
        self.jobs += len(jobs)
        for place, job in reversed(list(enumerate(jobs))):
            yield place, Ended(self.do(job.given, None))


@pytest.fixture
def model(folder):
    return write_model(folder / "model", DIGITS)


def lots(count, each=2):
    """Return lots of records; the first record of each is no image."""
    return [
        [Given(f"{lot}-{place}", f"row {place}", {"image": b"none"} if not place else picture(lot)) for place in range(each)]
        for lot in range(count)
    ]  # fmt: skip


def picture(value):
    file = io.BytesIO()
    Image.new("L", (8, 8), value).save(file, "png")
    return {"image": file.getvalue()}


def test_lots_come_back_in_their_order(folder, model):
    """Whichever was answered first, also beyond those that are read ahead; refused records stand in their place."""
    asked = lots(11)
    found = list(answered_elsewhere(Backwards(), model, iter(asked), None))
    scorer = Scorer(model)
    assert [(lot, lines_of(scorer, lot)) for lot in asked] == found
    assert all("problems" in lines[0] and "class" in lines[1] for _, lines in found)


def test_what_was_answered_is_asked_nowhere_again(folder, model):
    """A run that was killed goes on; another model is asked anew."""
    engine, asked = Backwards(), lots(3)
    first = list(answered_elsewhere(engine, model, asked[:2], Parts(folder / "a.csv", model)))
    again = list(answered_elsewhere(engine, model, asked, Parts(folder / "a.csv", model)))
    assert (3, first) == (engine.jobs, again[:2])


class Killed(Exception):
    """Stands for a process that ends at once."""


def open_failing():
    """Return what fails as it is told."""

    def fail(error, _folder):
        if isinstance(error, Killed):
            os.kill(os.getpid(), signal.SIGKILL)
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "said", "code"),
    [
        (ValueError("no"), "ValueError: no", 70),
        (NotPermitted("no"), "NotPermitted: no", 77),
        (Killed(), "the process was killed by SIGKILL", 74),
    ],
)
def test_a_lot_that_fails_is_not_passed_over(folder, model, error, said, code):
    """Nothing is missing without a word, and the exit code is that of the same trouble here."""

    class Failing(Backwards):
        def run(self, _jobs):
            with LocalWorkers(open_failing, num_workers=1) as workers:
                yield from workers.run([Job("a lot", error)])

    with pytest.raises(ProgramFailed, match=f"2 records were not answered: {said}") as failed:
        list(answered_elsewhere(Failing(), model, lots(1), None))
    assert code == failed.value.exit_code


def test_a_worker_opens_the_papers_that_it_is_given(folder, model):
    """`PAPERS` are all that answering needs."""
    asked = lots(1)[0]
    expected = lines_of(Scorer(model), asked)
    os.chdir(model)
    assert expected == open_answers()(asked, None)


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("killed", [False, True])
def test_a_cluster_writes_the_file_of_this_process(folder, model, monkeypatch, killed):
    """Two machines, one of which may die under kill -9 on the way: the bytes are the same, and no row is lost."""
    (folder / "pictures").mkdir()
    for place in range(6000):
        Image.fromarray(np.full((8, 8), place % 251, np.uint8)).save(folder / f"pictures/{place:04d}.png")
    (folder / "pictures/broken.png").write_bytes(b"none")
    monkeypatch.delenv("MILLRACE_ENGINE", raising=False)
    predict.predict(model, folder / "pictures", folder / "here.csv", source={}, max_refused=1)
    command = ["model", "pictures", "--out", "there.csv", "--max-refused", "1"]
    with cluster() as found:
        process = subprocess.Popen(
            [sys.executable, "-m", "pipeline.cli", "predict", *command],
            env={
                **os.environ,
                "MILLRACE_ENGINE": found.address,
                "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
            },
            stderr=subprocess.PIPE,
            text=True,
        )
        while killed and process.poll() is None and not any(folder.glob(".there.csv.parts/*")):
            pass
        if killed:
            os.kill(found.raylets[1], signal.SIGKILL)
        _, errors = process.communicate(timeout=600)
    assert 0 == process.returncode, errors
    for end in ("", ".refused.jsonl"):
        assert (folder / f"here.csv{end}").read_bytes() == (folder / f"there.csv{end}").read_bytes()
