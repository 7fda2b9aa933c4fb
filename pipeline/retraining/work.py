"""The steps of a retrain, each of which may be interrupted anywhere and done again.

A step returns facts, which the journal keeps; the next step reads them from there.
"""

import datetime as dt
import json
from dataclasses import dataclass
from typing import Any

from pipeline.retraining import chronicle, judged, remote, triggers, worktree
from pipeline.retraining.against_results import NO_RESULTS, examined
from pipeline.retraining.children import ChildFailed, Children
from pipeline.retraining.journal import Facts
from pipeline.retraining.settings import DriftBounds, Retrain
from pipeline.runtime import paths, processes
from pipeline.runtime.files import read_json
from pipeline.runtime.repository import has_remote
from pipeline.runtime.stage import Busy, DataRefused, InputMissing, ServiceDown, UserError


@dataclass(frozen=True)
class Wishes:
    """What the caller of a retrain asked for.

    Attributes:
        force: Retrain also if nothing asks for it.
        ignore_edits: Go on beside uncommitted edits, without them.
        accept_drift: Why drifted data is right all the same; "" to refuse it.
        max_gib: Limit of a download, as `millrace refresh` takes it.
        restart: Begin anew where an earlier call left a retrain unfinished.
    """

    force: bool = False
    ignore_edits: bool = False
    accept_drift: str = ""
    max_gib: float = 20.0
    restart: bool = False


def look_at_edits(children: Children, wishes: Wishes) -> Facts:
    """Refuse to start beside edits that nobody committed: what they would have meant, nobody could say.

    Raises:
        Busy: There are some.
    """
    edits = worktree.uncommitted(children)
    if edits and not wishes.ignore_edits:
        raise Busy(
            "Somebody is at work here: your uncommitted edits are not part of a retrain, which takes what is "
            f"committed. Expected a clean working tree. Received: {', '.join(edits[:5])}"
            f"{f' and {len(edits) - 5} more' if len(edits) > 5 else ''}. Commit or stash them, or go on without "
            "them with --ignore-edits."
        )
    return {"ignored_edits": edits}


def refresh(children: Children, wishes: Wishes) -> Facts:
    """Read the source again, in the tree.

    Raises:
        ServiceDown: The source does not answer; says how old everything is.
        UserError: The data cannot be read; nothing was changed.
    """
    before = _committed_source(children)
    try:
        children.millrace("refresh", "--max-gib", str(wishes.max_gib))
    except ChildFailed as error:
        if error.exit_code in (ServiceDown.exit_code, InputMissing.exit_code):
            raise _stale(error, before) from error
        raise
    after = read_json(children.tree / paths.SOURCE_JSON)
    return {"rows_before": before.get("count"), "rows_after": after["count"], "seen": after.get("seen")}


def look(children: Children, settings: Retrain, wishes: Wishes) -> Facts:
    """Return which triggers fired, and how the data moved; cheap unless the data changed.

    Raises:
        ChildFailed: `validate` does not pass the data.
    """
    # An earlier call may have been stopped after a stage wrote what it made into the lock.
    children.git("checkout", "--quiet", "HEAD", "--", paths.DVC_LOCK.as_posix(), check=False)
    moved = triggers.moved_inputs(children.tree)
    found: dict[str, Any] = {"new_rows": 0, "lost_rows": 0, "verdict": "none", "skipped": ["same data"]}
    if not (children.tree / paths.DVC_LOCK).is_file():
        found["skipped"] = [NO_RESULTS]
    if moved.data:
        found = examined(children, settings.drift)
    fired = triggers.look(
        moved,
        new_rows=found["new_rows"],
        changed_rows=found.get("changed_rows", 0),
        lost_rows=found["lost_rows"],
        min_new_rows=settings.min_new_rows,
        age_days=_results_age_days(children),
        max_age_days=settings.max_age_days,
        drift=found["verdict"],
        force=wishes.force,
        not_judged=judged.look(children),
    )
    return {"triggers": triggers.as_facts(fired), "drift": found}


def judge_drift(looked: Facts, bounds: DriftBounds, wishes: Wishes) -> Facts:
    """Refuse data that is unlike what the champion knows, unless the caller gave a reason to take it.

    Raises:
        DataRefused: Too many known rows are gone or changed, the new ones drifted too far, or nobody can tell.
        ServiceDown: Nobody can tell, because the DVC remote did not give what is needed for that.
    """
    found = looked["drift"]
    if wishes.accept_drift:
        return {"accepted_drift": wishes.accept_drift}
    fix = "Look at the source; if it is right, run `millrace retrain --accept-drift REASON`. The champion is as it was."
    if found["verdict"] == "unknown":
        unknown = (
            "Whether the source lost rows or drifted is unknown. Expected the data of the last results to compare "
            f"with. Received: {'; '.join(found['skipped'])}. "
        )
        if found.get("asked_remote"):
            raise ServiceDown(
                f"{unknown}If the remote is down, the next retrain asks it again; if it was never given that data, "
                "`dvc push` from where it is. The champion is as it was. Only if it is lost for good go on without "
                "that comparison: `millrace retrain --accept-drift REASON`."
            )
        raise DataRefused(f"{unknown}Bring it back with `dvc push` and `dvc fetch` from where it is. {fix}")
    lost_share, changed_share = found.get("lost_share", 0.0), found.get("changed_share", 0.0)
    if lost_share + changed_share > bounds.max_lost_share:
        changed = f" and says other things of {found['changed_rows']:,}" if changed_share else ""
        raise DataRefused(
            f"The source lost {found['lost_rows']:,} known rows{changed}. Expected a share of at most "
            f"{bounds.max_lost_share:g} (drift.max_lost_share). Received: {lost_share + changed_share:.3f}. {fix}"
        )
    if found["verdict"] == "refuse":
        from pipeline.retraining.new_rows import in_words

        raise DataRefused(
            f"The new rows are unlike those the champion knows. Expected differences below {bounds.refuse:g} "
            f"(drift.refuse). Received: {'; '.join(in_words(found))}. {fix}"
        )
    return {"accepted_drift": ""}


def train(children: Children, looked: Facts) -> Facts:
    """Bring the model up to date; where only its judgement is missing, that is the one of the committed results.

    Returns:
        Of how many rows it is.

    Raises:
        ChildFailed: With the exit code and message of the stage that failed.
    """
    fired = [item["name"] for item in looked["triggers"] if item["fired"]]
    if fired == ["not_judged"]:
        # `look` may have read a few rows more than they were made of.
        recorded = (paths.DVC_LOCK.as_posix(), paths.SOURCE_JSON.as_posix())
        children.git("checkout", "--quiet", "HEAD", "--", *recorded)
        if has_remote(children.tree):
            children.dvc("fetch")
        # What neither the cache nor a remote has is made anew below.
        children.dvc("checkout")
    children.repro("evaluate")
    return {"rows": read_json(children.tree / paths.SOURCE_JSON)["count"]}


def push_data(children: Children) -> Facts:
    """Bring the objects of DVC's cache to its remote, before anybody can see a commit that names them.

    Raises:
        ServiceDown: The remote does not take them.
    """
    if not has_remote(children.tree):
        return {"dvc_push": "no DVC remote"}
    if children.dvc("push").code:
        raise ServiceDown(
            "The DVC remote did not take the results. Expected `dvc push` to work; the lines above say why. "
            "The same command goes on from here."
        )
    return {"dvc_push": "pushed"}


def commit(children: Children, looked: Facts, refreshed: Facts, trained: Facts) -> Facts:
    """Commit the results to the branch of results."""
    why = ", ".join(item["name"] for item in looked["triggers"] if item["fired"])
    rows = f"{refreshed['rows_before'] or 0:,} to {trained.get('rows', refreshed['rows_after']):,} rows"
    details = "\n".join(
        f"- {item['name']}: {item['figures']}" for item in looked["triggers"] if item["fired"]
    )
    return {"commit": worktree.commit(children, f"retrain: {why}; {rows}\n\n{details}")}


def push(children: Children, branches: worktree.Followed) -> Facts:
    """Push the branch of results, if there is a remote.

    Raises:
        Moved: Somebody else pushed first.
        UserError: The remote does not take it.
    """
    if not branches.remote:
        return {"git_push": "no git remote"}
    remote.push(children, branches)
    return {"git_push": f"{branches.remote}/{branches.results}"}


def register(children: Children) -> Facts:
    """Judge the model, promote it or not, and return the decision.

    Raises:
        ChildFailed: With the exit code and message of the stage.
    """
    # Without it the stage runs, also where somebody committed a lock that says it did, for another registry.
    (children.tree / paths.REGISTER_DECISION).unlink(missing_ok=True)
    children.repro("register")
    decision = read_json(children.tree / paths.REGISTER_DECISION)
    last_run = read_json(children.tree / paths.STATE_DIR / "last_run.json")
    return {
        "outcome": decision["decision"],
        "reasons": decision["reasons"],
        "candidate": decision["candidate"],
        "model": last_run["model"]["name"],
        "version": str(last_run["model"]["version"]),
        "model_sha256": decision["model_sha256"],
    }


def _committed_source(children: Children) -> dict[str, Any]:
    shown = children.git("show", f"HEAD:{paths.SOURCE_JSON.as_posix()}", check=False)
    source: dict[str, Any] = json.loads(shown.out) if shown.code == 0 else {}
    return source


def _stale(error: ChildFailed, source: dict[str, Any]) -> UserError:
    seen = source.get("seen") or "an unknown day"
    age = _age_days(("promoted",))
    champion = "no champion of a retrain yet" if age is None else f"the champion is {age:.1f} days old"
    return ServiceDown(
        f"{error}\nThe champion is as it was. Staleness: the newest data is of {seen}, {champion}. "
        "The next retrain asks again."
    )


def _age_days(outcomes: tuple[str, ...]) -> float | None:
    entry = chronicle.last(outcomes)
    return (
        None
        if entry is None
        else (processes.now() - dt.datetime.fromisoformat(entry["ended"])).total_seconds() / 86400
    )


def _results_age_days(children: Children) -> float | None:
    """Return how long ago results were committed; git knows it also where the history was lost."""
    said = children.git("log", "-1", "--format=%cI", "--", paths.DVC_LOCK.as_posix()).out.strip()
    return (processes.now() - dt.datetime.fromisoformat(said)).total_seconds() / 86400 if said else None
