"""Ready-made schedules, each tried with the program that would read it where there is one."""

import json
import shlex
import shutil
import subprocess
import sys
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import pytest
from ruamel.yaml import YAML

from pipeline import cli
from pipeline.retraining import schedules
from pipeline.runtime.errors import InputMissing, StorageFailed, WronglyCalled
from pipeline.runtime.paths import NIGHT_ENVIRONMENT
from tests.conftest import ROOT

AT = (2, 30)
ODD_NAMES = [
    "O'Brien",
    'a"b',
    "a\\b",
    "$HOME",
    "$$",
    "a;b",
    "ü",
    "100%",
    "%n",
    "it's $(x) `y` & #1",
    "a' b",
    "two  blanks",
]
TRACKING_URI = "${{ secrets.MLFLOW_TRACKING_URI || vars.MLFLOW_TRACKING_URI }}"
OTHERS = "0 1 * * * /usr/bin/backup\n"


def parsed(kind, root=Path("/srv/project")):
    """Return the only file of a schedule as YAML 1.2."""
    (text,) = schedules.rendered(kind, root, AT, 360).values()
    return YAML(typ="safe").load(StringIO(text))


def test_systemd_accepts_the_units(tmp_path, monkeypatch):
    """`systemd-analyze verify` finds nothing to say, also with a path that needs quoting."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    root = tmp_path / "my 100% project"
    root.mkdir()
    python = root / "bin with spaces/python"
    python.parent.mkdir()
    python.symlink_to(sys.executable)
    monkeypatch.setattr(schedules.sys, "executable", str(python))
    for name, content in schedules.rendered("systemd", root, AT, 360).items():
        (tmp_path / name).write_text(content)
    units = [str(tmp_path / f"{schedules.unit_name(root)}.{kind}") for kind in ("service", "timer")]
    done = subprocess.run(
        [analyze, "verify", "--user", "--man=no", *units],
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    ours = [line for line in done.stderr.splitlines() if "millrace" in line]
    assert (done.returncode, ours) == (0, []), done.stderr


def test_the_timer_says_when_and_the_service_what():
    """Missed nights are caught up; the gate's refusal and a busy project are no failures."""
    units = schedules.rendered("systemd", Path("/srv/project"), AT, 360)
    service, timer = (
        units[f"{schedules.unit_name(Path('/srv/project'))}.{kind}"] for kind in ("service", "timer")
    )
    assert "OnCalendar=*-*-* 02:30:00" in timer
    assert "Persistent=true" in timer
    assert (
        f'ExecStart=/usr/bin/env "{sys.executable}" -m pipeline.cli retrain --wait 60 --time-limit 360'
        in service
    )
    assert "SuccessExitStatus=3 75" in service


def test_the_kubernetes_job_never_runs_twice_at_once():
    """One at a time, restarted by the job and not by the kubelet, on a volume that outlives it."""
    job = parsed("kubernetes")
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "CronJob")
    assert (job["spec"]["schedule"], job["spec"]["concurrencyPolicy"]) == ("30 2 * * *", "Forbid")
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["restartPolicy"] == "Never"  # what podFailurePolicy demands
    assert pod["containers"][0]["command"][:4] == ["python", "-m", "pipeline.cli", "retrain"]
    rule = job["spec"]["jobTemplate"]["spec"]["podFailurePolicy"]["rules"][0]
    assert rule["onExitCodes"]["containerName"] == pod["containers"][0]["name"]
    assert 75 not in rule["onExitCodes"]["values"]


def test_the_workflow_runs_one_at_a_time_with_the_whole_history():
    """And may push."""
    flow = parsed("github")
    assert flow["on"]["schedule"] == [{"cron": "30 2 * * *"}]
    assert flow["concurrency"] == {"group": "retrain", "cancel-in-progress": False}
    assert flow["permissions"] == {"contents": "write"}
    checkout = flow["jobs"]["retrain"]["steps"][0]
    assert checkout["with"]["fetch-depth"] == 0
    assert flow["jobs"]["retrain"]["env"]["MLFLOW_TRACKING_URI"] == TRACKING_URI


def test_cron_runs_what_the_shell_would(tmp_path):
    """The line, as cron hands it to sh once it took the backslash from each percent sign, runs in the folder."""
    root = tmp_path / "it's 100%"
    (root / ".millrace/retrain").mkdir(parents=True)
    line = schedules.rendered("cron", root, AT, 360)["crontab"].strip()
    assert line.startswith("30 2 * * * ")
    command = line.split(" ", 5)[5].replace(r"\%", "%").replace(sys.executable, "pwd; true")
    subprocess.run(["sh", "-c", command], check=True)
    assert (root / ".millrace/retrain/cron.log").exists()


@pytest.fixture
def crontab(tmp_path, monkeypatch):
    """A `crontab` program of our own that keeps its table in a file."""
    table = tmp_path / "table"
    program = tmp_path / "bin/crontab"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\nif [ "$1" = -l ]; then\n  [ -e {table} ] || {{ echo "no crontab for you" >&2; exit 1; }}\n'
        f"  cat {table}\nelse\n  cat > {table}\nfi\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return table


def test_the_crontab_keeps_the_lines_of_others(crontab, tmp_path):
    """Installing twice leaves one line; uninstalling leaves what was there before."""
    crontab.write_text(OTHERS)
    schedules.install_cron(tmp_path, AT, 360)
    schedules.install_cron(tmp_path, (4, 0), 360)
    lines = crontab.read_text().splitlines()
    assert lines[0] == OTHERS.strip()
    assert [line[:9] for line in lines[1:]] == ["0 4 * * *"]
    assert schedules.uninstall_cron(tmp_path)
    assert crontab.read_text() == OTHERS
    assert not schedules.uninstall_cron(tmp_path)


def test_a_first_line_in_an_empty_crontab(crontab, tmp_path):
    """`no crontab` is an empty one."""
    schedules.install_cron(tmp_path, AT, 360)
    assert len(crontab.read_text().splitlines()) == 1


def test_a_crontab_that_cannot_be_read_is_not_replaced(crontab, tmp_path):
    """Writing then would delete the lines of others."""
    crontab.mkdir()
    with pytest.raises(StorageFailed, match="cannot be read"):
        schedules.install_cron(tmp_path, AT, 360)


def test_systemd_units_come_and_go(tmp_path, monkeypatch):
    """Files in the user's folder, the timer enabled, and both gone again; with a `systemctl` of our own."""
    log, program = tmp_path / "log", tmp_path / "bin/systemctl"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >> {log}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    files = schedules.install_systemd(tmp_path, AT, 360)
    assert [path.suffix for path in files] == [".service", ".timer"]
    assert all(path.is_file() for path in files)
    assert log.read_text().splitlines()[-1] == f"--user enable --now {schedules.unit_name(tmp_path)}.timer"
    assert sorted(schedules.uninstall_systemd(tmp_path)) == sorted(files)
    assert not any(path.exists() for path in files)
    assert schedules.uninstall_systemd(tmp_path) == []


def test_a_machine_without_cron_is_told_what_else_there_is(tmp_path, monkeypatch):
    """Exit code 66, and how to show the others."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputMissing, match="schedule show"):
        schedules.install_cron(tmp_path, AT, 360)


@pytest.mark.parametrize(
    "arguments",
    [
        ["show", "--kind", "cron", "--at", "25:00"],
        ["install", "--kind", "github"],
        ["show", "--kind", "cron", "--time-limit", "0"],
        ["show", "--kind", "windows"],
    ],
)
def test_wrong_calls_are_told(project, arguments, capsys):
    """Exit code 64."""
    with pytest.raises(SystemExit) as caught:
        cli.main(["schedule", *arguments])
    assert caught.value.code == 64
    assert "schedule" in capsys.readouterr().err


@pytest.mark.parametrize("name", ODD_NAMES)
def test_systemd_reads_every_name_as_it_is(tmp_path, monkeypatch, name):
    """Read by the rules of systemd.service(5); and `systemd-analyze verify` has nothing to say, where there is one."""
    root = tmp_path / name
    monkeypatch.setattr(schedules.sys, "executable", str(root / "bin/python"))
    for file, content in schedules.rendered("systemd", root, AT, 360).items():
        (tmp_path / file).write_text(content)
    service = tmp_path / f"{schedules.unit_name(root)}.service"
    if analyze := shutil.which("systemd-analyze"):
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
        command = [analyze, "verify", "--user", "--man=no", service]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert "millrace" not in done.stderr
    words = dict(
        line.split("=", 1) for line in service.read_text().splitlines() if "=" in line and line[0] != "#"
    )
    assert str(root) == words["WorkingDirectory"].replace("%%", "%")
    # As systemd.service(5) has it: C escapes within double quotes, then %% and $$.
    program = (
        words["ExecStart"]
        .removeprefix("/usr/bin/env ")
        .removesuffix(" -m pipeline.cli retrain --wait 60 --time-limit 360")
    )
    read = program[1:-1].replace('\\"', '"').replace("\\\\", "\\").replace("%%", "%").replace("$$", "$")
    assert ('"', '"', f"{root}/bin/python") == (program[0], program[-1], read)


@pytest.mark.parametrize("name", ODD_NAMES)
def test_cron_and_the_shell_read_every_name_as_it_is(tmp_path, name):
    """One line, and the log lies in the folder."""
    root = tmp_path / name
    (root / ".millrace/retrain").mkdir(parents=True)
    text = schedules.rendered("cron", root, AT, 360)["crontab"]
    assert 1 == text.count("\n")
    command = text.split(" ", 5)[5].replace(r"\%", "%").replace(sys.executable, "true")
    subprocess.run(["sh", "-c", command], check=True)
    assert (root / ".millrace/retrain/cron.log").exists()


@pytest.mark.parametrize("kind", ["systemd", "cron"])
@pytest.mark.parametrize("name", ["two\nlines", "tail\\", "tab\there", "end ", "\x1b[31m", "\udcff"])
def test_what_no_schedule_can_name_is_refused(kind, name):
    """A line break would begin a line of its own: another setting of the unit, another job of the crontab."""
    with pytest.raises(WronglyCalled, match="Rename the folder"):
        schedules.rendered(kind, Path("/srv") / name, AT, 360)


def test_the_crontab_keeps_unusual_line_ends_of_others(crontab, tmp_path):
    """CR, form feed and line separators belong to the commands of others; a last line may have no end."""
    odd = "MAILTO=me\r\n0 1 * * * echo a\x0cb\x85c\u2028d\r e\r\n0 2 * * * true"
    crontab.write_bytes(odd.encode() + b"\xff")
    schedules.install_cron(tmp_path, AT, 360)
    first, _, ours = crontab.read_bytes().removesuffix(b"\n").rpartition(b"\n")
    assert odd.encode() + b"\xff" == first
    crontab.write_bytes(first + b"\n" + ours + b"\r\n")
    assert schedules.uninstall_cron(tmp_path)
    assert odd.encode() + b"\xff\n" == crontab.read_bytes()


SET = {
    "MLFLOW_TRACKING_URI": "https://me:pass word'\"%@host/mlflow",
    "MILLRACE_NOTIFY_URL": "https://hooks.example/T0/B0$x",
    "MLFLOW_TRACKING_TOKEN": "token",
    "AWS_SECRET_ACCESS_KEY": "key",
    "https_proxy": "http://proxy:3128",
}


@pytest.fixture
def night(crontab, tmp_path, monkeypatch):
    """What cron would run, installed where variables are set: a function that runs it in an empty environment."""
    root = tmp_path / "it's 100%"
    root.mkdir()
    for name, value in SET.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MILLRACE_NOW", "2026-03-01")
    monkeypatch.setenv("DVC_ROOT", "/elsewhere")

    def run(**given):
        line = crontab.read_text().splitlines()[-1]
        # In place of the retrain, a program that takes its options and tells the environment it would run in.
        code = (
            "import argparse, json, os, sys; sys.path.insert(0, sys.argv.pop()); "
            "from pipeline.commands import retrain; from pipeline.retraining.schedules import take_environment; "
            "p = argparse.ArgumentParser(); retrain.add_arguments(p); o = p.parse_args(sys.argv[2:]); "
            "take_environment(o.environment); print(json.dumps(dict(os.environ)))"
        )
        told = f"{shlex.quote(sys.executable)} -c {shlex.quote(code)}"
        command = line.split(" ", 5)[5].replace(r"\%", "%").replace(f"{sys.executable} -m pipeline.cli", told)
        command = command.replace(" >> ", f" {shlex.quote(str(ROOT))} >> ")
        subprocess.run(["sh", "-c", command], env={"PATH": "/usr/bin:/bin", **given}, check=True)
        return json.loads((root / ".millrace/retrain/cron.log").read_text().splitlines()[-1])

    run.root = root
    return run


def test_a_night_has_what_was_set_when_it_was_installed(night):
    """The registry, the webhook, their secrets: by cron, in an environment that has none of them."""
    schedules.install_cron(night.root, AT, 360)
    told = night()
    assert {name: told.get(name) for name in SET} == SET
    assert not {"MILLRACE_NOW", "DVC_ROOT"} & told.keys()
    assert 0o600 == (night.root / NIGHT_ENVIRONMENT).stat().st_mode & 0o777
    assert "http://elsewhere" == night(MLFLOW_TRACKING_URI="http://elsewhere")["MLFLOW_TRACKING_URI"]


def a_systemd(folder, monkeypatch):
    """A `systemctl` that agrees to everything, and a folder for the units of its user."""
    program = folder / "bin/systemctl"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))


def test_no_secret_stands_in_the_crontab_or_in_a_unit(night, crontab, tmp_path, monkeypatch):
    """Others may read them."""
    a_systemd(tmp_path, monkeypatch)
    schedules.install_cron(night.root, AT, 360)
    units = [path.read_text() for path in schedules.install_systemd(night.root, AT, 360)]
    assert not [value for value in SET.values() for text in (crontab.read_text(), *units) if value in text]
    assert f"retrain --environment {NIGHT_ENVIRONMENT} --wait" in units[0]


def test_the_environment_goes_with_the_last_schedule_that_reads_it(night, tmp_path, monkeypatch):
    """A timer and a line of cron beside each other: the night of the one that stays still finds its settings."""
    a_systemd(tmp_path, monkeypatch)
    schedules.install_cron(night.root, AT, 360)
    schedules.install_systemd(night.root, AT, 360)
    assert schedules.uninstall_cron(night.root)
    assert (night.root / NIGHT_ENVIRONMENT).exists()
    schedules.install_cron(night.root, AT, 360)
    assert schedules.uninstall_systemd(night.root)
    assert (night.root / NIGHT_ENVIRONMENT).exists()
    assert schedules.uninstall_cron(night.root)
    assert not (night.root / NIGHT_ENVIRONMENT).exists()


def test_install_says_what_it_takes_along_and_show_what_would_be_missing(
    project, crontab, monkeypatch, capsys
):
    """By name; where nothing is set, which registry the nights would use."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:S3CRET@host")
    monkeypatch.delenv("MILLRACE_NOTIFY_URL", raising=False)
    cli.main(["schedule", "show", "--kind", "cron"])
    shown = capsys.readouterr()
    assert "--environment" not in shown.out
    assert "MLFLOW_TRACKING_URI, set here, will not be there at night" in shown.err
    cli.main(["schedule", "install", "--kind", "cron"])
    said = capsys.readouterr().out
    (taken,) = [line for line in said.splitlines() if "takes along" in line]
    assert "MLFLOW_TRACKING_URI" in taken
    assert "S3CRET" not in said
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    cli.main(["schedule", "install", "--kind", "cron"])
    assert "mlflow.db in this project" in capsys.readouterr().out


@pytest.mark.parametrize(("answer", "publish"), [("y", "push"), ("", "none")])
def test_install_asks_once_whether_nights_may_push(project, crontab, monkeypatch, capsys, answer, publish):
    """On a terminal, where there is a remote; only that word of retrain.yaml changes, and what will happen is said."""
    before = Path("retrain.yaml").read_text()
    for arguments in (
        ["init", "-q", "-b", "main"],
        ["add", "retrain.yaml"],
        ["remote", "add", "origin", "/team"],
    ):
        subprocess.run(["git", *arguments], check=True)
    subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@e", "commit", "-qm", "x"], check=True)
    asked = []
    monkeypatch.setattr("builtins.input", lambda text: asked.append(text) or answer)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    cli.main(["schedule", "install", "--kind", "cron"])
    assert ["[y/N] "] == asked
    assert before.replace("publish: none", f"publish: {publish}") == Path("retrain.yaml").read_text()
    said = capsys.readouterr().out
    assert ("push retrain/main to /team" if publish == "push" else "fetch and push nothing") in said
    cli.main(["schedule", "install", "--kind", "cron", "--publish", "none"])
    assert before == Path("retrain.yaml").read_text()


def test_a_night_whose_environment_is_gone_does_not_begin(project, capsys):
    """Exit code 66: in an empty registry everything would be promoted."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["retrain", "--environment", "gone.json"])
    assert 66 == ended.value.code
    assert "schedule install" in capsys.readouterr().err
