"""Bring the MLflow record up to date, register the chosen model, and make it champion if it is better.

Reads: models/best, models/tuned, data/interim/payload.npy, data/features, data/split/split.parquet,
data/source.json, dvc.lock, reports/; git.
Writes: reports/register/decision.json, decision.html, settled and report.html; runs, a model version, the list of
champions and aliases in MLflow; .millrace/last_run.json and test_ledger.jsonl.
Parameters: register, candidates, evaluate, seed, threads.

Every step finds what an earlier attempt left, so running it again changes nothing. A model whose origin is not
committed is registered and judged, but held, unless it is the first; the next `dvc repro` judges it anew.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from pipeline.evaluation.ledger import sentence
from pipeline.evaluation.measures import Yardstick
from pipeline.gate.decision import HELD, held_unless_committed, not_committed_yet, write_settled
from pipeline.gate.question import Rules
from pipeline.inference import backend
from pipeline.metrics.names import format_value, metric_words, primary_called
from pipeline.params.families import measures_of_champion
from pipeline.params.load import load_params
from pipeline.params.values import Params
from pipeline.provenance import state as provenance_state
from pipeline.provenance.origin import JUDGED, judged_digest
from pipeline.reports import console, dashboard, run
from pipeline.reports.run import decision_page, run_report
from pipeline.runtime import paths
from pipeline.runtime.addresses import shown
from pipeline.runtime.files import read_json, write_json, write_text
from pipeline.runtime.repository import locked_stages
from pipeline.runtime.stage import running_stage
from pipeline.versions.seal import complete_origin, ensure_version, leads_back

if TYPE_CHECKING:
    from pipeline.provenance.state import CandidateState
    from pipeline.tracking.record import Recorded
    from pipeline.tracking.registry import Version

LOCAL_UI = "http://127.0.0.1:5000"
"""Where `make ui` shows a store that is a file."""


def main() -> None:
    """Register what models/best holds."""
    with running_stage("register"):
        params = load_params()
        backend.prepare_tensorflow(params.threads, params.seed)
        candidates: dict[str, Any] = msgspec.to_builtins(params.candidates)
        evaluate = params.evaluate
        families = {name: block["family"] for name, block in candidates.items()}
        chosen = read_json(paths.BEST_DIR / "card.json", "evaluate")["candidate"]
        baselines, peers = measures_of_champion(chosen, families)
        register(
            candidates=list(candidates),
            baselines=baselines,
            peers=peers,
            model_name=params.register.model_name,
            experiment=params.register.experiment,
            uncommitted=params.register.uncommitted,
            rules=_rules(params),
            yardstick=Yardstick.of(
                evaluate.calibration_bins, params.data.positive_class, evaluate.anomaly, evaluate.select_by
            ),
        )


def _rules(params: Params) -> Rules:
    """Return how strict the gate is."""
    settings, evaluate = params.register, params.evaluate
    return Rules(
        primary_called(evaluate.select_by),
        settings.margin,
        evaluate.confidence,
        evaluate.bootstrap_resamples,
        params.seed,
        rows=settings.min_rows,
        mode=settings.mode,
        non_inferiority_margin=settings.non_inferiority_margin,
        floors=settings.floors,
        class_tolerance=settings.class_tolerance,
        slices=settings.slices or (),
        slice_tolerance=settings.slice_tolerance,
        min_support=settings.min_support,
        calibration_budget=settings.calibration_budget,
        max_size_mib=settings.max_size_mib,
        max_latency_ms=settings.max_latency_ms,
    )


def register(
    *,
    candidates: list[str],
    baselines: list[str],
    peers: Sequence[str] | None = None,
    model_name: str,
    experiment: str,
    rules: Rules,
    yardstick: Yardstick,
    uncommitted: str | None = None,
) -> dict[str, Any]:
    """Record the pipeline, register its model, decide, and write the decision.

    Args:
        candidates: All names in params.yaml.
        baselines: Those that the chosen candidate must beat.
        peers: Where it is a baseline itself, the others that must not be better; else None.
        model_name: In the registry.
        experiment: In MLflow.
        rules: How strict the gate is.
        yardstick: How answers are measured.
        uncommitted: Why a model may be promoted whose origin no commit holds; None if it may not.

    Returns:
        The content of decision.json.

    Raises:
        ServiceDown: The MLflow store does not answer; nothing is lost.
    """
    from pipeline.evaluation.scoring import holdout_of, load_test_rows
    from pipeline.gate.promotion import decide_version
    from pipeline.gate.uses import share_uses
    from pipeline.tracking.champions import champions
    from pipeline.tracking.record import attach, record_pipeline, set_description, set_name
    from pipeline.tracking.registry import (
        apply_decision,
        champion_version,
        record_decision,
        registered_at,
        set_tags,
    )  # fmt: skip
    from pipeline.tracking.revocations import keep_revocations
    from pipeline.tracking.runs import sweep
    from pipeline.tracking.store import open_store, service_errors, store_lock

    for page_of_last in (paths.RUN_REPORT, paths.DECISION_PAGE):
        page_of_last.unlink(missing_ok=True)
    state = provenance_state.read_state(candidates)
    card = read_json(paths.BEST_DIR / "card.json", "evaluate")
    store = open_store(Path.cwd(), experiment)
    with service_errors(store.uri), store_lock(store.uri, "record"):
        sweep(store)
        keep_revocations(store, model_name)
        recorded = record_pipeline(store, state)
        run_id = recorded.candidate_run_ids[card["candidate"]]
        version = ensure_version(store, model_name, card, run_id, state)
        decision = decide_version(
            store,
            model_name,
            version,
            candidate=card["candidate"],
            baselines=baselines,
            peers=peers,
            rules=rules,
            yardstick=yardstick,
        )
        champion = champion_version(store, model_name)
        if champion is not None:
            complete_origin(store, model_name, champion)
        reigns = champion is not None and champion.model_sha256 == version.model_sha256
        first = champion is None and not champions(store, model_name)
        decision = held_unless_committed(decision, state.committed, uncommitted, reigns=reigns, first=first)
        record_decision(store, model_name, version, decision)
        apply_decision(store, model_name, version, decision)
        set_tags(store, model_name, version, {JUDGED: judged_digest(locked_stages(candidates))})
        holdout = holdout_of(load_test_rows())
        share_uses(store, model_name, version, holdout)
        looks = sentence(holdout, version.model_sha256)
        model = f"{model_name} version {version.number}"
        told = [*decision["reasons"]]
        if not leads_back(version.tags):
            told += not_committed_yet(decision, state.committed)
        page = dashboard.pipeline_page(
            {**decision, "reasons": told},
            model,
            run.test_score(card),
            state.data,
            state.tags["git.commit"],
            looks=looks,
        )
        set_description(store, recorded.parent_run_id, page)
        for run_called, name in run_names(model_name, card, state.candidates, recorded).items():
            set_name(store, run_called, name)
        view = dashboard.shared_view(recorded.parent_run_id, rules.primary, card["test"])
        store.client.set_experiment_tag(store.experiment_id, *view)
        base = shown(store.uri) if store.uri.startswith("http") else LOCAL_UI
        run_ids = (recorded.parent_run_id, run_id)
        links = dashboard.links(
            base, store.experiment_id, run_ids, model_name, version.number, primary=rules.primary
        )
        facts = run.facts(
            f"{model}, sha256 {version.model_sha256[:12]}",
            state.data,
            state.committed.commit[:12]
            + (", and what it does not hold yet" if state.committed.problems else ""),
            registered_at(store, model_name, version),
            links,
        )
        # In the dashboard a page stands alone; here the others lie beside it.
        for beside in (False, True):
            report_facts, decision_facts = (
                [*facts, *(run.pages_beside(path) if beside else ())]
                for path in (paths.RUN_REPORT, paths.DECISION_PAGE)
            )
            write_text(paths.RUN_REPORT, run_report(decision, looks, report_facts))
            write_text(paths.DECISION_PAGE, decision_page(decision, decision_facts))
            if not beside:
                attach(store, recorded.parent_run_id, paths.RUN_REPORT)
                attach(store, run_id, paths.DECISION_PAGE)
    shown_decision = {**decision, "reasons": told}
    write_last_run(
        links, model_name, version, shown_decision, recorded.parent_run_id, looks=looks, reigned=reigns
    )
    write_json(paths.REGISTER_DECISION, decision)
    write_settled(held=decision["decision"] == HELD)
    console.print_report(links=False, ending=not os.environ.get(console.ENDING))
    return decision


def run_names(
    model_name: str, card: Mapping[str, Any], candidates: Sequence["CandidateState"], recorded: "Recorded"
) -> dict[str, str]:
    """Return run id to what it is called: data, model, score, and which was chosen: a table that can be read."""
    metric = card["primary"]["name"]
    scores = {
        item.name: f"{metric_words(metric)} {format_value(item.test[metric])}"
        for item in candidates
        if metric in item.test
    }
    chosen = card["candidate"]
    names = {
        recorded.candidate_run_ids[name]: f"{name}{' (chosen)' if name == chosen else ''}, {score}"
        for name, score in scores.items()
    }
    return {recorded.parent_run_id: f"{model_name}: {chosen}, {scores[chosen]}", **names}


def write_last_run(
    links: Mapping[str, str],
    model_name: str,
    version: "Version",
    decision: Mapping[str, Any],
    run_id: str,
    *,
    looks: str,
    reigned: bool = False,
) -> None:
    """Write what the report at the end of the pipeline shows of this machine's record."""
    model = {"name": model_name, "version": version.number, "sha256": version.model_sha256}
    content = {
        "decision": decision["decision"], "links": links, "model": model, "reigned": reigned, "run_id": run_id
    }  # fmt: skip
    write_json(console.LAST_RUN, {**content, "reasons": decision["reasons"], "looks": looks})


if __name__ == "__main__":
    main()
