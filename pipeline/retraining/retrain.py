"""One retrain from beginning to end, or from where an earlier call stopped to the end."""

from typing import Any

from pipeline.retraining import chronicle, journal, notify, remote, work, worktree
from pipeline.retraining.children import Children
from pipeline.retraining.journal import Facts, Run
from pipeline.retraining.settings import Retrain
from pipeline.retraining.work import Wishes
from pipeline.runtime import processes
from pipeline.runtime.places import JOURNAL
from pipeline.runtime.stage import Busy, DataRefused, ServiceDown, code_of

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
        run = journal.begin(JOURNAL)
    else:
        print(f"Going on with the retrain of {run.run_id}; finished: {', '.join(run.facts) or 'nothing'}.")
    try:
        outcome = steps(children, settings, wishes, run)
    except BaseException as error:
        code, _ = code_of(error)
        goes_on = code in PAUSES or (code in LATER_PAUSES and run.step not in EARLY)
        if run.step == "edits" or (code not in WAITED_FOR and run.fails_again(code)):
            goes_on = False
        said = str(error) or type(error).__name__
        run.stop(code, said)
        _close(
            run,
            settings,
            {"outcome": _outcome_of(code, run.step, goes_on), "reasons": [said], "exit_code": code},
        )
        if not goes_on:
            run.end()
        raise
    entry = _close(run, settings, outcome)
    run.end()
    return entry


def steps(children: Children, settings: Retrain, wishes: Wishes, run: Run) -> Facts:
    """Do what is left to do of a retrain, and return how it ended.

    Raises:
        UserError: A step cannot be done.
    """
    branches = worktree.followed(children, settings.branch)
    worktree.forget_locks(children, branches)
    _start_over_if_moved(children, branches, run)
    for _ in range(settings.push_attempts):
        try:
            return _one_round(children, branches, settings, wishes, run)
        except remote.Moved as error:
            print(f"Somebody else pushed to {branches.results} first: judging anew on top of it.")
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
        remote.fetch(children, branches)
    except ServiceDown:
        print("The git remote does not answer; going on with what is known here.")
    source, _ = worktree.newest(children, branches)
    moved = branches.branch if source != run.facts["prepare"]["source"] else ""
    if not moved and worktree.superseded(children, branches):
        # A model of results that others went past must not be judged, let alone win, after theirs.
        moved = branches.results
    if moved:
        print(f"{moved} has moved meanwhile: beginning anew on it.")
        run.start_over(f"{moved} has moved")


def _one_round(
    children: Children, branches: worktree.Followed, settings: Retrain, wishes: Wishes, run: Run
) -> Facts:
    run.once("edits", lambda: work.look_at_edits(children, wishes))
    run.once("prepare", lambda: _prepared(children, branches))
    refreshed = run.once("refresh", lambda: work.refresh(children, wishes))
    looked = run.once("look", lambda: work.look(children, settings, wishes))
    _show(looked)
    run.once("drift", lambda: work.judge_drift(looked, settings.drift, wishes))
    if not any(item["fired"] for item in looked["triggers"]):
        reasons = [item["figures"] for item in looked["triggers"] if item["name"] in ("new_rows", "age")]
        return {"outcome": "nothing_to_do", "reasons": ["; ".join(reasons) + "."], "exit_code": 0}
    trained = run.once("train", lambda: work.train(children, looked))
    run.once("dvc push", lambda: work.push_data(children))
    run.once("commit", lambda: work.commit(children, looked, refreshed, trained))
    run.once("git push", lambda: work.push(children, branches))
    registered = run.once("register", lambda: work.register(children))
    return {**registered, "exit_code": 3 if registered["outcome"] in ("refused", "held") else 0}


def _prepared(children: Children, branches: worktree.Followed) -> Facts:
    remote.fetch(children, branches)
    prepared = worktree.prepare(children, branches)
    if prepared["note"]:
        print(prepared["note"])
    return {**prepared, "branch": branches.branch, "results": branches.results}


def _show(looked: Facts) -> None:
    for item in looked["triggers"]:
        print(f"  {'*' if item['fired'] else ' '} {item['name'].replace('_', ' ')}: {item['figures']}")
    drift = looked["drift"]
    largest = [f"{found['what']} {found['effect']:.2f}" for found in drift.get("findings", [])[:3]]
    print(f"    largest differences: {', '.join(largest) or '; '.join(drift['skipped'])}", flush=True)


def _outcome_of(code: int, step: str, goes_on: bool) -> str:
    if goes_on or step == "edits":
        return "paused"
    if code == ServiceDown.exit_code:
        return "source_down"
    return "data_refused" if code == DataRefused.exit_code else "failed"


def _close(run: Run, settings: Retrain, outcome: Facts) -> Facts:
    """Write the end of this call where people look, and tell them."""
    entry = _entry(run, outcome)
    if entry["outcome"] != "nothing_to_do" and (
        settings.notify.command or notify.url_of(settings.notify.url)
    ):
        notify.put(entry)
    chronicle.add(entry)
    notify.deliver(
        settings.notify.command, notify.url_of(settings.notify.url), settings.notify.timeout_seconds
    )
    return entry


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
        "drift": {name: drift[name] for name in ("verdict", "findings", "skipped") if name in drift},
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
        **outcome,
    }
