"""One retrain from beginning to end, or from where an earlier call stopped to the end.

The file is long because its steps, and the order in which a stopped call repeats them, are read together.
"""

import datetime as dt
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pipeline.retraining import journal, notifications, triggers, worktree
from pipeline.retraining.accepted import (
    FIRST,
    LAST_RESULTS,
    NO_RESULTS,
    Accepted,
    accept,
    accepted_data,
)
from pipeline.retraining.children import Children
from pipeline.retraining.journal import Facts, Run
from pipeline.retraining.live import live_triggers
from pipeline.retraining.triggers import PUSH, DriftBounds, Retrain
from pipeline.runtime import paths, processes
from pipeline.runtime.addresses import shown, without_secrets
from pipeline.runtime.errors import (
    Busy,
    DataRefused,
    InputMissing,
    ProgramFailed,
    ServiceDown,
    UserError,
    say,
)
from pipeline.runtime.files import read_json
from pipeline.runtime.paths import JOURNAL
from pipeline.runtime.repository import has_remote
from pipeline.runtime.stage import code_of


def plan(children: Children, settings: Retrain) -> list[str]:
    """Return in words what a retrain would follow, and where its results would go.

    Raises:
        UserError: There is nothing to follow.
    """
    branches = worktree.followed(children, settings.branch, publish=settings.publish == PUSH)
    lines = [
        f"It would follow {branches.branch}, as far as it is committed, and commit to {branches.results}."
    ]
    if settings.publish != PUSH:
        return [*lines, "It would fetch and push nothing (publish: none in retrain.yaml)."]
    if branches.remote:
        address = children.git(
            "remote", "get-url", "--push", branches.remote, folder=children.project
        ).out.strip()
        lines.append(
            f"It would fetch from the git remote {branches.remote}, and push {branches.results} to "
            f"{shown(address)} (publish: push in retrain.yaml)."
        )
    else:
        lines.append("It would push nothing to git: there is no git remote.")
    there = has_remote(children.project)
    return [
        *lines,
        f"It would push {'its data to the DVC remote' if there else 'no data: there is no DVC remote'}.",
    ]


# --- The steps of a retrain, each of which may be interrupted anywhere and done again.
#
# A step returns facts, which the journal keeps; the next step reads them from there.


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


def read_source_again(children: Children, wishes: Wishes) -> Facts:
    """Read the source again, in the tree.

    Raises:
        ServiceDown: The source does not answer; says how old everything is.
        UserError: The data cannot be read; nothing was changed.
    """
    before = _committed_source(children)
    try:
        children.millrace("refresh", "--max-gib", str(wishes.max_gib))
    except ProgramFailed as error:
        if error.exit_code in (ServiceDown.exit_code, InputMissing.exit_code):
            raise _stale(error, before) from error
        raise
    after = read_json(children.tree / paths.SOURCE_JSON)
    return {"rows_before": before.get("count"), "rows_after": after["count"], "seen": after.get("seen")}


def compare_with_results(children: Children, bounds: DriftBounds, accepted: Accepted | None) -> Facts:
    """Return how the data moved, see `new_rows.compare_with_results`; only a night with other data needs pandas."""
    from pipeline.retraining import new_rows

    return new_rows.compare_with_results(children, bounds, accepted)


def find_triggers(children: Children, settings: Retrain, wishes: Wishes, prepared: Facts) -> Facts:
    """Return which triggers fired, and how the data moved; cheap unless the data changed.

    Args:
        children: Runs stages in the tree.
        settings: Content of retrain.yaml.
        wishes: What the caller asked for.
        prepared: `branch` that is followed, and its commit `source`.

    Raises:
        ProgramFailed: `validate` does not pass the data.
    """
    # An earlier call may have been stopped after a stage wrote what it made into the lock.
    children.git("checkout", "--quiet", "HEAD", "--", paths.DVC_LOCK.as_posix(), check=False)
    moved = triggers.changed_inputs(children.tree)
    found: dict[str, Any] = {"new_rows": 0, "lost_rows": 0, "verdict": "none", "skipped": ["same data"]}
    if not (children.tree / paths.DVC_LOCK).is_file():
        found["skipped"] = [NO_RESULTS]
    if moved.data:
        accepted = accepted_data(children, prepared["branch"], prepared["source"])
        found = compare_with_results(children, settings.drift, accepted)
    fired = triggers.all_triggers(
        moved,
        new_rows=found["new_rows"],
        changed_rows=found.get("changed_rows", 0),
        lost_rows=found["lost_rows"],
        min_new_rows=settings.min_new_rows,
        age_days=_results_age_days(children),
        max_age_days=settings.max_age_days,
        drift=found["verdict"],
        force=wishes.force,
        not_judged=triggers.awaits_decision(children),
    )
    if settings.triggers:
        fired += live_triggers(children, settings.triggers, settings.drift, new_data=moved.data)
    return {"triggers": triggers.as_facts(fired), "drift": found}


FIX = "Look at the source; if it is right, run `millrace retrain --accept-drift REASON`. The champion is as it was."
ROLLING = " If it keeps only its last days or weeks, set `drift.rolling: true` in retrain.yaml."


def refuse_drifted_data(looked: Facts, bounds: DriftBounds, wishes: Wishes) -> Facts:
    """Refuse data that is unlike what the champion knows, unless the caller gave a reason to take it.

    Raises:
        DataRefused: Too many known rows are gone or changed, the new ones drifted too far, or nobody can tell.
        ServiceDown: Nobody can tell, because the DVC remote did not give what is needed for that.
    """
    if wishes.accept_drift:
        return {"accepted_drift": wishes.accept_drift}
    found = looked["drift"]
    since = found.get("since", {})
    for compared in (found, since):
        if compared.get("verdict") == "unknown":
            raise _unknown(compared)
    problems = [
        *_data_problems(found, LAST_RESULTS, bounds, count_lost=True),
        *(_data_problems(since, since["data"], bounds, count_lost=not bounds.rolling) if since else ()),
    ]
    if problems:
        raise DataRefused("\n".join([*problems, FIX]))
    return {"accepted_drift": ""}


def _unknown(found: Facts) -> UserError:
    unknown = (
        "Whether the source lost rows or drifted is unknown. Expected the data to compare with. "
        f"Received: {'; '.join(found['skipped'])}. "
    )
    if found.get("asked_remote"):
        return ServiceDown(
            f"{unknown}If the remote is down, the next retrain asks it again; if it was never given that data, "
            "`dvc push` from where it is. The champion is as it was. Only if it is lost for good go on without "
            "that comparison: `millrace retrain --accept-drift REASON`."
        )
    return DataRefused(f"{unknown}Bring it back with `dvc push` and `dvc fetch` from where it is. {FIX}")


def _data_problems(found: Facts, against: str, bounds: DriftBounds, *, count_lost: bool) -> Iterator[str]:
    """Yield why today's data cannot be taken, compared with some other data."""
    lost = found.get("lost_share", 0.0) if count_lost else 0.0
    changed = found.get("changed_share", 0.0)
    if lost + changed > bounds.max_lost_share:
        gone = [f"lost {found['lost_rows']:,} known rows"] if lost else []
        other = [f"says other things of {found['changed_rows']:,}"] if changed else []
        yield (
            f"The source {' and '.join([*gone, *other])}, against {against}. Expected a share of at most "
            f"{bounds.max_lost_share:g} (drift.max_lost_share). Received: {lost + changed:.3f}."
            + (ROLLING if lost and against != LAST_RESULTS else "")
        )
    if found["verdict"] == "refuse":
        from pipeline.retraining.new_rows import finding_sentences

        yield (
            f"The rows that are new or changed are unlike {against}. Expected differences below {bounds.refuse:g} "
            f"(drift.refuse). Received: {'; '.join(finding_sentences(found))}."
        )


def bring_up_to_date(children: Children, looked: Facts) -> Facts:
    """Bring the model up to date; where only its judgement is missing, that is the one of the committed results.

    Returns:
        Of how many rows it is.

    Raises:
        ProgramFailed: With the exit code and message of the stage that failed.
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


def push_data(children: Children, settings: Retrain) -> Facts:
    """Bring the objects of DVC's cache to its remote, if that is wanted, before a commit that names them is seen.

    Raises:
        ServiceDown: The remote does not take them.
    """
    if settings.publish != PUSH:
        return {"dvc_push": "not published"}
    if not has_remote(children.tree):
        return {"dvc_push": "no DVC remote"}
    if children.dvc("push").code:
        raise ServiceDown(
            "The DVC remote did not take the results. Expected `dvc push` to work; the lines above say why. "
            "The same command goes on from here."
        )
    return {"dvc_push": "pushed"}


def commit_results(children: Children, run: Run) -> Facts:
    """Commit the results to the branch of results, and which data is accepted if that is news."""
    prepared, refreshed, looked, judged, trained = (
        run.facts[name] for name in ("prepare", "refresh", "look", "drift", "train")
    )
    reason = judged["accepted_drift"]
    if not reason and accepted_data(children, prepared["branch"], prepared["source"]) is None:
        reason = FIRST
    if reason:
        accept(children, prepared["source"], reason, processes.now().date().isoformat())
    why = ", ".join(item["name"] for item in looked["triggers"] if item["fired"])
    rows = f"{refreshed['rows_before'] or 0:,} to {trained.get('rows', refreshed['rows_after']):,} rows"
    details = "\n".join(
        f"- {item['name']}: {item['figures']}" for item in looked["triggers"] if item["fired"]
    )
    return {"commit": worktree.commit_tree(children, f"retrain: {why}; {rows}\n\n{details}")}


def push_results(children: Children, branches: worktree.Followed, settings: Retrain) -> Facts:
    """Push the branch of results, if that is wanted and there is a remote.

    Raises:
        Moved: Somebody else pushed first.
        UserError: The remote does not take it.
    """
    if settings.publish != PUSH:
        return {"git_push": "not published"}
    if not branches.remote:
        return {"git_push": "no git remote"}
    worktree.push_branch(children, branches)
    return {"git_push": f"{branches.remote}/{branches.results}"}


def register_model(children: Children, *, again: bool = False) -> Facts:
    """Judge the model, promote it or not, and return the decision.

    Args:
        children: Runs stages in the tree.
        again: An earlier call of this retrain came so far: what reigns now, it may have promoted itself.

    Raises:
        ProgramFailed: With the exit code and message of the stage.
    """
    # Without it the stage runs, also where somebody committed a lock that says it did, for another registry.
    (children.tree / paths.REGISTER_DECISION).unlink(missing_ok=True)
    children.repro("register")
    decision = read_json(children.tree / paths.REGISTER_DECISION)
    last_run = read_json(children.tree / paths.STATE_DIR / "last_run.json")
    outcome = decision["decision"]
    if outcome == "promoted" and last_run.get("reigned") and not again:
        # The decision by which it once became champion holds; nothing became anything tonight.
        outcome = "unchanged"
    return {
        "outcome": outcome,
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


def _stale(error: ProgramFailed, source: dict[str, Any]) -> UserError:
    seen = source.get("seen") or "an unknown day"
    age = _age_days(("promoted",))
    champion = "no champion of a retrain yet" if age is None else f"the champion is {age:.1f} days old"
    return ServiceDown(
        f"{error}\nThe champion is as it was. Staleness: the newest data is of {seen}, {champion}. "
        "The next retrain asks again."
    )


def _age_days(outcomes: tuple[str, ...]) -> float | None:
    entry = journal.last(outcomes)
    return (
        None
        if entry is None
        else (processes.now() - dt.datetime.fromisoformat(entry["ended"])).total_seconds() / 86400
    )


def _results_age_days(children: Children) -> float | None:
    """Return how long ago results were committed; git knows it also where the history was lost."""
    said = children.git("log", "-1", "--format=%cI", "--", paths.DVC_LOCK.as_posix()).out.strip()
    return (processes.now() - dt.datetime.fromisoformat(said)).total_seconds() / 86400 if said else None


# --- One retrain from beginning to end, or from where an earlier call stopped to the end.

PAUSES = (75, 130, 143)
"""Exit codes after which the same command goes on where this one stopped."""
LATER_PAUSES = (69, 74)
"""These too, once there is a model to lose: before, the next retrain had better ask the source again."""
WAITED_FOR = (69, 75, 130)
"""However often in a row: services come back, locks and time limits end, and a person may stop it as they like."""
EARLY = ("", "edits", "prepare", "refresh", "look", "drift")


def retrain(children: Children, settings: Retrain, wishes: Wishes) -> Facts:
    """Retrain if there is a reason to, and leave an entry in the history whatever happens.

    Args:
        children: Runs programs in the tree of the project, which is the working directory. The caller holds the
            lock.
        settings: Content of retrain.yaml.
        wishes: What the caller asked for.

    Returns:
        The entry of the history.

    Raises:
        UserError: It could not be done, or (GateRefused) the new model is not the champion.
    """
    run = None if wishes.restart else journal.unfinished(JOURNAL)
    if run is None:
        run = journal.begin_run(JOURNAL)
    else:
        say(f"Going on with the retrain of {run.run_id}; finished: {', '.join(run.facts) or 'nothing'}.")
    try:
        outcome = steps(children, settings, wishes, run)
    except BaseException as error:
        code, _ = code_of(error)
        goes_on = code in PAUSES or (code in LATER_PAUSES and run.step not in EARLY)
        if run.step == "edits" or (code not in WAITED_FOR and run.fails_again(code)):
            goes_on = False
        said = without_secrets(str(error) or type(error).__name__)
        run.stop(code, said)
        _close(
            run,
            settings,
            {"outcome": _outcome_of(code, run.step, goes_on), "reasons": [said], "exit_code": code},
        )
        if not goes_on:
            run.end()
        _tell(settings)
        raise
    entry = _close(run, settings, outcome)
    run.end()
    _tell(settings)
    return entry


def steps(children: Children, settings: Retrain, wishes: Wishes, run: Run) -> Facts:
    """Do what is left to do of a retrain, and return how it ended.

    Raises:
        UserError: A step cannot be done.
    """
    branches = worktree.followed(children, settings.branch, publish=settings.publish == PUSH)
    worktree.adopt_tree(children)
    worktree.forget_locks(children, branches)
    _start_over_if_moved(children, branches, run)
    for _ in range(settings.push_attempts):
        try:
            return _one_round(children, branches, settings, wishes, run)
        except worktree.RemoteMoved as error:
            say(f"Somebody else pushed to {branches.results} first: judging anew on top of it.")
            run.begin_again(str(error))
    raise Busy(
        f"Somebody else pushed to {branches.results} each time. Expected to be first within {settings.push_attempts} "
        "attempts (push_attempts). The next call begins anew, on top of what is there then."
    )


def _start_over_if_moved(children: Children, branches: worktree.Followed, run: Run) -> None:
    """Forget what was done on an old tree: what could not be done there may be mended meanwhile."""
    if "prepare" not in run.facts:
        return
    try:
        worktree.fetch_branches(children, branches)
    except ServiceDown:
        say("The git remote does not answer; going on with what is known here.")
    source, _ = worktree.newest(children, branches)
    moved = branches.branch if source != run.facts["prepare"]["source"] else ""
    if not moved and worktree.superseded(children, branches):
        # A model of results that others went past must not be judged, let alone win, after theirs.
        moved = branches.results
    if moved:
        say(f"{moved} has moved meanwhile: beginning anew on it.")
        run.start_over(f"{moved} has moved")


def _one_round(
    children: Children, branches: worktree.Followed, settings: Retrain, wishes: Wishes, run: Run
) -> Facts:
    run.once("edits", lambda: look_at_edits(children, wishes))
    prepared = run.once("prepare", lambda: _prepared(children, branches))
    run.once("refresh", lambda: read_source_again(children, wishes))
    looked = run.once("look", lambda: find_triggers(children, settings, wishes, prepared))
    _show(looked)
    run.once("drift", lambda: refuse_drifted_data(looked, settings.drift, wishes))
    if not any(item["fired"] for item in looked["triggers"]):
        told = ("new_rows", "age", "live_drift", "live_metric")
        reasons = [item["figures"] for item in looked["triggers"] if item["name"] in told]
        return {"outcome": "nothing_to_do", "reasons": ["; ".join(reasons) + "."], "exit_code": 0}
    run.once("train", lambda: bring_up_to_date(children, looked))
    run.once("dvc push", lambda: push_data(children, settings))
    run.once("commit", lambda: commit_results(children, run))
    run.once("git push", lambda: push_results(children, branches, settings))
    again = "judging" in run.facts
    run.once("judging", dict)
    registered = run.once("register", lambda: register_model(children, again=again))
    return {**registered, "exit_code": 3 if registered["outcome"] in ("refused", "held") else 0}


def _prepared(children: Children, branches: worktree.Followed) -> Facts:
    worktree.fetch_branches(children, branches)
    prepared = worktree.prepare(children, branches)
    if prepared["note"]:
        say(prepared["note"])
    return {**prepared, "branch": branches.branch, "results": branches.results}


def _show(looked: Facts) -> None:
    for item in looked["triggers"]:
        say(f"  {'*' if item['fired'] else ' '} {item['name'].replace('_', ' ')}: {item['figures']}")
    drift = looked["drift"]
    say(f"    largest differences: {_largest(drift)}")
    if since := drift.get("since"):
        counts = (
            (since["new_rows"], "new"),
            (since.get("changed_rows", 0), "changed"),
            (since["lost_rows"], "gone"),
        )
        rows = ", ".join(f"{count:,} {word}" for count, word in counts)
        say(f"    against {since['data']}: {rows}; {_largest(since)}")


def _largest(found: Facts) -> str:
    largest = [f"{finding['what']} {finding['effect']:.2f}" for finding in found.get("findings", [])[:3]]
    return ", ".join(largest) or "; ".join(found["skipped"])


def _outcome_of(code: int, step: str, goes_on: bool) -> str:
    if goes_on or step == "edits":
        return "paused"
    if code == ServiceDown.exit_code:
        return "source_down"
    return "data_refused" if code == DataRefused.exit_code else "failed"


def _close(run: Run, settings: Retrain, outcome: Facts) -> Facts:
    """Write the end of this call where people look, and into the outbox."""
    entry = _entry(run, outcome)
    notify = settings.notify
    if entry["outcome"] != "nothing_to_do" and (notify.command or notifications.url_of(notify.url)):
        notifications.put(entry)
    journal.add(entry)
    return entry


def _tell(settings: Retrain) -> None:
    """Deliver what is in the outbox, once the journal says how this call ended: nothing is left to repeat."""
    notify = settings.notify
    notifications.deliver(notify.command, notifications.url_of(notify.url), notify.timeout_seconds)


def _entry(run: Run, outcome: Facts) -> dict[str, Any]:
    looked, refreshed = run.facts.get("look", {}), run.facts.get("refresh", {})
    drift = looked.get("drift", {})
    after = run.facts.get("train", {}).get("rows", refreshed.get("rows_after"))
    return {
        "run": run.run_id,
        "ended": processes.now().isoformat(),
        "stops": len(run.stops),
        "rounds": run.rounds,
        "step": run.step,
        "triggers": looked.get("triggers", []),
        "drift": {name: drift[name] for name in ("verdict", "findings", "skipped", "since") if name in drift},
        "accepted_drift": run.facts.get("drift", {}).get("accepted_drift", ""),
        "ignored_edits": run.facts.get("edits", {}).get("ignored_edits", []),
        "rows_before": refreshed.get("rows_before"),
        "rows_after": after,
        "new_rows": drift.get("new_rows"),
        "changed_rows": drift.get("changed_rows"),
        "lost_rows": drift.get("lost_rows"),
        "seconds": dict(run.seconds),
        "commit": run.facts.get("commit", {}).get("commit", ""),
        "pushed": run.facts.get("git push", {}).get("git_push", ""),
        "data_pushed": run.facts.get("dvc push", {}).get("dvc_push", ""),
        **outcome,
    }
