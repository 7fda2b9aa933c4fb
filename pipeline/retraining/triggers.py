"""Why to retrain: what moved since the results that are committed, each with its figures."""

import re
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta

from pipeline.params.sections import Count, Name, Positive, Section, Share
from pipeline.provenance.origin import JUDGED, judged_digest
from pipeline.retraining.children import Children
from pipeline.runtime import paths
from pipeline.runtime.errors import ParamsError, ServiceDown
from pipeline.runtime.files import path_digest, write_text
from pipeline.runtime.repository import relevant_stages
from pipeline.runtime.strict_yaml import convert, read_yaml, value_at, yaml_content

# --- Whether the committed results were judged: the registry says it, and is asked every time.
#
# A note of this machine could be of a registry that was emptied since, and would not know what other machines
# judged.


def awaits_decision(children: Children) -> tuple[bool, str]:
    """Return whether the committed results are still to be judged, and what the registry says of it.

    The dvc.lock in the tree may be ahead of them: `validate` writes what it read tonight into it. Where the
    registry does not answer, nothing could be judged either: no reason to retrain tonight, and said as it is.

    Raises:
        ProgramFailed: git cannot read the committed dvc.lock; that is not the same as none.
    """
    name = paths.DVC_LOCK.as_posix()
    committed = children.git("ls-tree", "--name-only", "HEAD", "--", name).out.strip()
    text = children.git("show", f"HEAD:./{name}").out if committed else ""
    params = read_yaml(children.tree / paths.PARAMS_YAML)
    lock = yaml_content(text, "the committed dvc.lock") if committed else {}
    made = relevant_stages(lock, params.get("candidates", {}))
    if not made:
        return False, "no results yet"
    model = params.get("register", {}).get("model_name", "")
    uri = paths.tracking_uri(children.project)
    try:
        found = _is_registered(uri, model, judged_digest(made))
    except ServiceDown as error:
        return False, f"whether the committed results were judged is not known: {error}"
    return not found, f"the committed results were {'judged' if found else 'never brought to this registry'}"


def _is_registered(uri: str, model: str, digest: str) -> bool:
    """Return whether a version of the model was the one that a decision about these results was about.

    Raises:
        ServiceDown: The registry does not answer.
    """
    if uri.startswith(paths.SQLITE):
        return _in_database(paths.sqlite_path(uri), (model, JUDGED, digest))
    from pipeline.tracking.store import has_tagged_version

    return has_tagged_version(uri, model, JUDGED, digest)


def _in_database(path: Path, wanted: tuple[str, str, str]) -> bool:
    """Look into MLflow's own tables: importing MLflow takes longer than everything else on a quiet night."""
    if not path.is_file():
        return False
    query = "SELECT 1 FROM model_version_tags WHERE name = ? AND key = ? AND value = ? LIMIT 1"
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
            return connection.execute(query, wanted).fetchone() is not None
    except sqlite3.Error as error:
        if "no such table" in str(error):
            return False
        raise ServiceDown(
            f"{path} cannot be read. Expected a database of MLflow. Received: {error}."
        ) from error


# --- `retrain.yaml`: when to retrain, what drift is too much, whom to tell.
#
# Not part of params.yaml, because nothing in it moves a number of a model: docs/decisions/0017.

Effect = Annotated[float, Meta(gt=0, le=1)]


PUSH = "push"
"""Of `publish`."""


class DriftBounds(Section, frozen=True):
    """From when on new rows count as different from the known ones."""

    significance: Annotated[float, Meta(gt=0, lt=0.5)]
    report: Effect
    refuse: Effect
    min_rows: Count
    """New rows below which nothing is compared."""
    max_lost_share: Share
    """Of the known rows that may be gone from the source, or have other labels."""
    rolling: bool
    """Whether the source keeps only its last days or weeks: rows that left since the accepted data are no loss."""


class LiveDrift(Section, frozen=True):
    """A log of `millrace serve --log`, whose drift is looked at."""

    log: Name
    days: Positive
    """Records of so many days back."""


class LiveMetric(Section, frozen=True):
    """A log of `millrace serve --log`, and labels that came later."""

    log: Name
    labels: Name
    id: Name
    label: Name
    days: Positive
    """Records of so many days back."""


class LiveTriggers(Section, frozen=True):
    """What servers saw as a reason to retrain; null is none."""

    live_drift: LiveDrift | None
    live_metric: LiveMetric | None


class Notify(Section, frozen=True):
    """Who is told how a retrain ended."""

    command: Name | None
    url: Annotated[str, Meta(pattern=r"^https?://")] | None
    timeout_seconds: Positive


class Retrain(Section, frozen=True):
    """The whole of retrain.yaml."""

    branch: Name | None
    min_new_rows: Count
    max_age_days: Positive
    push_attempts: Count
    drift: DriftBounds
    notify: Notify
    triggers: LiveTriggers | None = None
    publish: Literal["none", "push"] = "none"
    """Whether the remotes of git and DVC get the results; nobody's repository is written to unasked."""


def load_settings(path: Path = paths.RETRAIN_YAML) -> Retrain:
    """Return the content of retrain.yaml.

    Raises:
        ParamsError: Something in it cannot be used, every problem at once; or there is no such file.
    """
    if not path.is_file():
        raise ParamsError(
            [f"{path} does not exist. Expected it beside params.yaml. `git checkout {path}` brings it back."]
        )
    settings = convert(read_yaml(path), Retrain, str(path))
    if settings.drift.report > settings.drift.refuse:
        problem = (
            f"{path}: what is refused must be at least as far off as what is reported. Expected drift.report "
            f"<= drift.refuse. Received: report={settings.drift.report}, refuse={settings.drift.refuse}. "
            "Raise one or lower the other."
        )
        raise ParamsError([problem])
    return settings


def write_publish(value: str, path: Path = paths.RETRAIN_YAML) -> None:
    """Set `publish` in retrain.yaml; everything else in it stays as it is, comments too."""
    text = path.read_text(encoding="utf-8")
    changed, count = re.subn(r"(?m)^(publish:[ \t]*)[^\s#]+", rf"\g<1>{value}", text)
    write_text(path, changed if count else f"{text.rstrip()}\npublish: {value}\n")


# --- Why to retrain.

MOST_NAMED = 5
LEFT_OUT = ("reduce", "register")
"""The one is no part of a retrain, the other follows from the rest and runs in every retrain."""
WHOLE_FILE_STAGE = "check"
"""Depends on all of params.yaml and on settings that move no number; what moves others, they say themselves."""


@dataclass(frozen=True)
class Trigger:
    """One reason that was looked at.

    Attributes:
        name: `never_trained`, `not_judged`, `new_rows`, `age`, `drift`, `code`, `params` or `force`; `live_drift` and
            `live_metric` of `pipeline.retraining.live`.
        fired: Whether it is reason enough.
        figures: What was found, and the bound.
    """

    name: str
    fired: bool
    figures: str


@dataclass(frozen=True)
class ChangedInputs:
    """What is not as the committed results recorded it.

    Attributes:
        data: Whether data/source.json says something else.
        code: Files.
        params: Keys of params.yaml.
        never: Stages without any result.
    """

    data: bool
    code: tuple[str, ...]
    params: tuple[str, ...]
    never: tuple[str, ...]


def changed_inputs(tree: Path) -> ChangedInputs:
    """Compare every input that dvc.lock records with the files of a working tree; nothing is run.

    Outputs of stages are left out: they follow from the rest.
    """
    lock_path = tree / paths.DVC_LOCK
    lock = read_yaml(lock_path).get("stages", {}) if lock_path.is_file() else {}
    params = read_yaml(tree / paths.PARAMS_YAML)
    stages = _stages(read_yaml(tree / paths.DVC_YAML)["stages"], params)
    recorded = {name: content for name, content in lock.items() if name in stages}
    outs = {out["path"] for content in recorded.values() for out in content.get("outs", [])}
    read: dict[str, set[str]] = {}
    keys: dict[str, list[Any]] = {}
    for name, content in recorded.items():
        if name == WHOLE_FILE_STAGE:
            continue
        for item in content.get("deps", []):
            if item["path"] not in outs and not _within(item["path"], outs):
                read.setdefault(item["path"], set()).add(item["md5"])
        for key, value in content.get("params", {}).get(paths.PARAMS_YAML.as_posix(), {}).items():
            keys.setdefault(key, []).append(value)
    files = [path for path, digests in read.items() if digests != {_digest(tree / path)}]
    return ChangedInputs(
        data=paths.SOURCE_JSON.as_posix() in files,
        code=tuple(sorted(path for path in files if path != paths.SOURCE_JSON.as_posix())),
        params=tuple(
            sorted(
                key
                for key, values in keys.items()
                if any(value_at(params, key, None) != one for one in values)
            )
        ),
        never=tuple(sorted(stages - set(recorded))),
    )


def all_triggers(
    moved: ChangedInputs,
    *,
    new_rows: int,
    changed_rows: int,
    lost_rows: int,
    min_new_rows: int,
    age_days: float | None,
    max_age_days: float,
    drift: str,
    force: bool,
    not_judged: tuple[bool, str],
) -> list[Trigger]:
    """Return every trigger with its figures.

    Args:
        moved: See `moved_inputs`.
        new_rows: Rows that were not among those of the committed results.
        changed_rows: Rows of the same content with another label, say.
        lost_rows: Rows of the committed results that are gone.
        min_new_rows: How many of them all are enough.
        age_days: How long ago the last retrain ended, in days; None if there was none.
        max_age_days: From when on fewer rows are enough.
        drift: `none`, `report`, `refuse` or `unknown`.
        force: Whether the user wants it anyway.
        not_judged: Whether the committed results are still to be judged, and what is known of it, see `judged.look`.
    """
    old = age_days is not None and age_days >= max_age_days
    age = "no retrain yet" if age_days is None else f"{age_days:.1f} days since the last retrain"
    if old and not moved.data:
        age += "; the data is the same, so the same model would come out"
    others = ((changed_rows, "changed"), (lost_rows, "gone"))
    rows = ", ".join([f"{new_rows:,} new rows", *(f"{count:,} {word}" for count, word in others if count)])
    enough = new_rows + changed_rows + lost_rows >= min_new_rows
    return [
        Trigger("never_trained", bool(moved.never), _named(moved.never, "stages without a result")),
        Trigger("not_judged", *not_judged),
        Trigger("new_rows", enough and moved.data, f"{rows}, {min_new_rows:,} are enough"),
        Trigger("age", old and moved.data, f"{age}, {max_age_days:g} are allowed"),
        Trigger("drift", drift in ("report", "refuse"), f"drift: {drift}"),
        Trigger("code", bool(moved.code), _named(moved.code, "files changed")),
        Trigger("params", bool(moved.params), _named(moved.params, "parameters changed")),
        Trigger("force", force, "asked for" if force else "not asked for"),
    ]


def as_facts(triggers: Sequence[Trigger]) -> list[dict[str, Any]]:
    """Return triggers as JSON content."""
    return [asdict(trigger) for trigger in triggers]


def _stages(declared: Mapping[str, Any], params: Mapping[str, Any]) -> set[str]:
    candidates = params.get("candidates", {})
    return {
        full
        for name, stage in declared.items()
        for full in ([f"{name}@{candidate}" for candidate in candidates] if "foreach" in stage else [name])
        if name not in LEFT_OUT
    }


def _within(path: str, outs: set[str]) -> bool:
    return any(path.startswith(f"{out}/") or out.startswith(f"{path}/") for out in outs)


def _digest(path: Path) -> str:
    return path_digest(path) if path.exists() else "gone"


def _named(names: Sequence[str], what: str) -> str:
    if not names:
        return f"no {what}"
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f"{len(names)} {what}: {', '.join(names[:MOST_NAMED])}{more}"
