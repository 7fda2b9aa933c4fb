"""`millrace doctor` says where work runs, and refuses machines that are not like this one."""

import json
import os

import pytest

from pipeline.cli import main
from pipeline.commands.machines import doctor
from pipeline.engine.work import Machine


class Cluster:
    """Machines that answer what a test wants."""

    address = "ray://head:10001"

    def __init__(self, *answers):
        self.answers = answers

    def everywhere(self, ask, given):
        return [Machine(f"10.0.0.{place}", 4.0, answer) for place, answer in enumerate(self.answers, 1)]


def examined(monkeypatch, capsys, engine, *options):
    """Return the exit code of the command and what it said, by words on standard output and error."""
    monkeypatch.setattr(doctor, "chosen_engine", lambda: engine)
    code = 0
    try:
        main(["doctor", *options])
    except SystemExit as error:
        code = error.code
    return code, *capsys.readouterr()


MACHINE = doctor.facts("nothing-of-the-kind==1\n")["machine"]
ALIKE = {"differing": [], "machine": MACHINE}
OTHER = {"differing": ["numpy: 2.4.6 locked, 2.4.5 installed"], "machine": MACHINE}


def test_machines_like_this_one_are_fit(project_without_code, monkeypatch, capsys):
    """0, with a line for each: cores, processor, packages."""
    code, said, _ = examined(monkeypatch, capsys, Cluster(ALIKE, ALIKE))
    assert 0 == code
    assert [
        "Work runs on ray://head:10001: 2 machines, 8 cores",
        f"  10.0.0.1: 4 cores of {ALIKE['machine']['cpu']}; packages of requirements.lock",
        f"  10.0.0.2: 4 cores of {ALIKE['machine']['cpu']}; packages of requirements.lock",
    ] == said.splitlines()


def test_other_packages_are_refused(project_without_code, monkeypatch, capsys):
    """77, by the name of the machine; the JSON says all of it as well."""
    code, said, errors = examined(monkeypatch, capsys, Cluster(ALIKE, OTHER), "--json")
    assert 77 == code
    assert (
        "10.0.0.2: other packages. Expected those of requirements.lock. Received: numpy: 2.4.6 locked"
        in errors
    )
    told = json.loads(said)
    assert [[], OTHER["differing"]] == [one["differing"] for one in told["machines"]]
    assert (True, "ray://head:10001", 4.0) == (told["reached"], told["engine"], told["machines"][0]["cores"])


def test_another_kind_of_processor_is_told(project_without_code, monkeypatch, capsys):
    """It is no mistake, but last bits may differ."""
    other = {"differing": [], "machine": MACHINE | {"cpu_flags": "avx512f"}}
    code, said, _ = examined(monkeypatch, capsys, Cluster(other))
    assert 0 == code
    assert "Other processor kind, so other bits are possible: instruction sets avx512f recorded" in said


def test_a_cluster_that_does_not_answer_is_told(project_without_code, monkeypatch, capsys):
    """69; `--json` says which engine it was, and that it is not reached."""
    pytest.importorskip("ray")
    monkeypatch.setenv("MILLRACE_ENGINE", "ray://127.0.0.1:9")
    with pytest.raises(SystemExit) as stopped:
        main(["doctor", "--json"])
    assert 69 == stopped.value.code
    told = json.loads(capsys.readouterr().out)
    assert ("ray://127.0.0.1:9", False) == (told["engine"], told["reached"])


def test_here_is_this_machine(project_without_code, monkeypatch):
    """What the facts compare is the lock that they are given, and variables that travel with the work are left out."""
    assert ["nothing-of-the-kind: 1 locked, none installed"] == doctor.facts("nothing-of-the-kind==1\n")[
        "differing"
    ]
    assert "switches" not in doctor.facts("nothing-of-the-kind==1\n")["machine"]
    monkeypatch.delenv("MILLRACE_ENGINE", raising=False)
    (here,) = doctor.chosen_engine().everywhere(str, "given")
    assert Machine("here", len(os.sched_getaffinity(0)), "given") == here
