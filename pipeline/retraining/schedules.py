"""Ready-made schedules: systemd timer, cron line, GitHub Actions workflow, Kubernetes CronJob."""

import hashlib
import json
import os
import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

from pipeline.reports.html import render
from pipeline.runtime.errors import InputMissing, StorageFailed, WronglyCalled
from pipeline.runtime.files import read_json, write_text
from pipeline.runtime.paths import NIGHT_ENVIRONMENT
from pipeline.runtime.processes import run

# --- What a night needs of the environment: timers and cron start with an empty one.
#
# Without the address of the registry a night would judge in an empty one beside the project, and promote whatever
# comes first. One file that `millrace retrain` reads itself, because each scheduler quotes in its own way.

CARRIED = re.compile(
    r"MLFLOW_(TRACKING|REGISTRY|S3|HTTP|ARTIFACT|MULTIPART)_\w+|MILLRACE_NOTIFY_URL|(AWS|AZURE|GOOGLE|DVC|GIT_SSH)_?\w*"
    r"|(HTTPS?|NO|ALL)_PROXY|(https?|no|all)_proxy|(SSL_CERT|REQUESTS_CA|CURL_CA)_\w+|SSH_AUTH_SOCK"
)
NOT_CARRIED = ("DVC_ROOT", "DVC_STAGE")
"""Of the run of DVC in which somebody installs it."""


def keep_environment(root: Path) -> list[str]:
    """Write down what a night needs of this environment, for its owner alone, and return the names."""
    kept = {
        name: value
        for name, value in sorted(os.environ.items())
        if value and CARRIED.fullmatch(name) and name not in NOT_CARRIED
    }
    write_text(root / NIGHT_ENVIRONMENT, json.dumps(kept, indent=2) + "\n", mode=0o600)
    return list(kept)


def take_environment(path: Path) -> None:
    """Take what was written down; what the scheduler itself gives counts more.

    Raises:
        InputMissing: There is no such file.
    """
    if not path.is_file():
        raise InputMissing(
            f"The environment of the schedule is gone. Expected {path}. Received: no such file. Run `millrace schedule "
            "install` again, where MLFLOW_TRACKING_URI and MILLRACE_NOTIFY_URL are set as the nights need them."
        )
    for name, value in read_json(path).items():
        os.environ.setdefault(name, value)


# --- The schedules.

KINDS = ("systemd", "cron", "github", "kubernetes")
INSTALLABLE = ("systemd", "cron")


def rendered(
    kind: str, root: Path, at: tuple[int, int], minutes: int, *, environment: bool = False
) -> dict[str, str]:
    """Return a schedule as {file name: content}.

    Args:
        kind: One of `KINDS`.
        root: Absolute folder of the project.
        at: Hour and minute; of the machine's clock (systemd, cron), UTC elsewhere.
        minutes: Time limit of one retrain.
        environment: Let it read what `keep_environment` wrote.

    Raises:
        WronglyCalled: The scheduler cannot name such a folder.
    """
    if kind in INSTALLABLE:
        _require_nameable(str(root))
        _require_nameable(sys.executable)
    facts: dict[str, Any] = {
        "options": f"--environment {NIGHT_ENVIRONMENT} " if environment else "",
        "word": _unit_word,
        "percent": lambda text: text.replace("%", "%%"),
        # cron hands the line to a shell, and takes % for a new line.
        "crontab": lambda text: shlex.quote(text).replace("%", r"\%"),
        "root": str(root),
        "python": sys.executable,
        "hour": at[0],
        "minute": at[1],
        "at": f"{at[0]:02d}:{at[1]:02d}",
        "minutes": minutes,
    }
    names = {
        "systemd": {f"{unit_name(root)}.service": "service", f"{unit_name(root)}.timer": "timer"},
        "cron": {"crontab": "cron"},
        "github": {"retrain.yml": "github"},
        "kubernetes": {"cronjob.yaml": "kubernetes"},
    }[kind]
    return {name: render(f"schedule.{template}.j2", **facts) + "\n" for name, template in names.items()}


def unit_name(root: Path) -> str:
    """Return a name of units that two projects of one user do not share."""
    return f"millrace-retrain-{hashlib.sha256(str(root).encode()).hexdigest()[:8]}"


def install_systemd(root: Path, at: tuple[int, int], minutes: int) -> list[Path]:
    """Write timer and service of this user and start the timer; return the files.

    Raises:
        InputMissing: There is no systemd here.
        StorageFailed: systemd refuses the units.
    """
    systemctl = _program("systemctl", "systemd")
    folder = units_dir()
    files = []
    units = rendered("systemd", root, at, minutes, environment=True)
    keep_environment(root)
    for name, content in units.items():
        write_text(folder / name, content)
        files.append(folder / name)
    _call([systemctl, "--user", "daemon-reload"])
    _call([systemctl, "--user", "enable", "--now", f"{unit_name(root)}.timer"])
    return files


def uninstall_systemd(root: Path) -> list[Path]:
    """Stop the timer and remove its files; return those that were there."""
    systemctl = _program("systemctl", "systemd")
    files = [units_dir() / f"{unit_name(root)}.{kind}" for kind in ("timer", "service")]
    there = [path for path in files if path.exists()]
    if there:
        _call([systemctl, "--user", "disable", "--now", f"{unit_name(root)}.timer"])
        for path in there:
            path.unlink()
        _call([systemctl, "--user", "daemon-reload"])
        _drop_environment(root)
    return there


def install_cron(root: Path, at: tuple[int, int], minutes: int) -> None:
    """Put the line of this project into the user's crontab, in place of an older one.

    Raises:
        InputMissing: There is no cron here.
        StorageFailed: cron refuses it; the table is as it was.
    """
    line = rendered("cron", root, at, minutes, environment=True)["crontab"].rstrip("\n")
    others = _other_lines(root)
    keep_environment(root)
    _write_crontab([*others, f"{line} {_mark(root)}"])


def uninstall_cron(root: Path) -> bool:
    """Take the line of this project out of the user's crontab; return whether there was one."""
    before, after = _crontab(), _other_lines(root)
    if before != after:
        _write_crontab(after)
        _drop_environment(root)
    return before != after


def units_dir() -> Path:
    """Return where units of this user are."""
    config = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(config) / "systemd" / "user"


def _drop_environment(root: Path) -> None:
    """Remove what `keep_environment` wrote, unless a schedule of the other kind still reads it."""
    by_cron = shutil.which("crontab") is not None and _crontab() != _other_lines(root)
    if not by_cron and not (units_dir() / f"{unit_name(root)}.service").exists():
        (root / NIGHT_ENVIRONMENT).unlink(missing_ok=True)


def _other_lines(root: Path) -> list[str]:
    return [line for line in _crontab() if not line.rstrip().endswith(_mark(root))]


def _mark(root: Path) -> str:
    # cron hands the line to a shell, for which this is a comment.
    return f"# {unit_name(root)}"


def _crontab() -> list[str]:
    done = run([_program("crontab", "cron"), "-l"])
    if done.code and "no crontab" not in done.err.lower():
        # Not an empty table: writing now would delete what could not be read.
        raise StorageFailed(
            f"The crontab cannot be read. Expected `crontab -l` to work. Received: {done.err.strip()}."
        )
    # Only LF ends a line of a crontab: other separators, and CR, belong to somebody's command.
    return done.out.removesuffix("\n").split("\n") if done.code == 0 and done.out else []


def _write_crontab(lines: list[str]) -> None:
    _call([_program("crontab", "cron"), "-"], "".join(f"{line}\n" for line in lines))


def _program(name: str, what: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise InputMissing(
            f"There is no {what} here. Expected the program {name}. Use `millrace schedule show` and another kind."
        )
    return found


def _call(command: list[str], text: str | None = None) -> None:
    done = run(command, given=text, seconds=60)
    if done.code:
        raise StorageFailed(
            f"`{' '.join(command)}` failed. Expected exit code 0. Received: {done.code}, "
            f"{done.err.strip() or 'no message'}. `millrace schedule show` prints what would be installed."
        )


def _require_nameable(path: str) -> None:
    """Refuse what ends a line of a unit or a crontab, or joins the next one: control characters, a last backslash.

    Raises:
        WronglyCalled: There is such a letter, or a blank at the end, which units do not keep.
    """
    if path.isprintable() and path == path.rstrip(" \\"):
        return
    raise WronglyCalled(
        "A schedule cannot name this path. Expected one of printable characters, without a backslash or blank at its "
        f"end. Received: {path!r}. Rename the folder, or call `millrace retrain` by another scheduler."
    )


def _unit_word(text: str) -> str:
    """Return a path as a word of a command in a unit: in double quotes, `%` and `$` doubled."""
    escaped = text.replace("\\", "\\\\").replace("%", "%%").replace("$", "$$").replace('"', '\\"')
    return f'"{escaped}"'
