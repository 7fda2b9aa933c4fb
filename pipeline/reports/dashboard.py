"""Texts of the pages in MLflow, written to be read, and the links that open the right view.

The verdict comes first, because a page shows four lines.
"""

import json
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from pipeline.metrics.names import Primary, format_value
from pipeline.reports.run import VERDICTS, test_score

WORKFLOW = "workflowType=machine_learning"
"""Without it the UI opens in the mode for prompts and traces, which hides the model registry."""
CANDIDATES = "candidates, best first"
"""The link that is opened first: scores as columns. The run's own page hides its verdict behind MLflow's assistant."""


def pipeline_page(
    decision: Mapping[str, Any],
    model: str,
    test_score: str,
    source: Mapping[str, Any],
    commit: str,
    *,
    looks: str,
) -> str:
    """Return the description of a pipeline run, in Markdown.

    Args:
        decision: Content of decision.json.
        model: Name and version in the registry.
        test_score: Primary metric on test in words.
        source: Content of data/source.json.
        commit: Of git, or "none".
        looks: How often the test set was used, see `pipeline.evaluation.ledger.sentence`.
    """
    return (
        f"**{decision['candidate']} {VERDICTS[decision['decision']]}**: {test_score}.\n\n"
        f"{' '.join(decision['reasons'])}\n\n"
        f"Model: {model}, sha256 `{decision['model_sha256'][:12]}`.\n\n"
        f"Data: {source['kind']}, {source['count']} samples, sha256 `{str(source['sha256'])[:12]}`; "
        f"commit `{commit[:12]}`.\n\n{looks}\n"
    )


def version_page(card: Mapping[str, Any], source: Mapping[str, Any], fingerprint: str, decision: str) -> str:
    """Return the description of a model version, true for as long as it exists; a table shows its start as is.

    Args:
        card: Content of card.json.
        source: Content of data/source.json.
        fingerprint: Of the pipeline state.
        decision: Address of the gate's page within the dashboard.
    """
    metric = card["primary"]["name"]
    baselines = [
        f"{name} {format_value(scores[metric]['value'])}"
        for name, scores in card.get("baselines", {}).items()
        if metric in scores and name != card["candidate"]
    ]
    beside = f" Baselines: {', '.join(baselines)}." if baselines else ""
    return (
        f"{card['candidate']}: {test_score(card)}.{beside}\n\n"
        f"Data: {source['kind']}, {source['count']:,} samples, sha256 `{str(source['sha256'])[:12]}`. "
        f"[Every check of the gate]({decision}).\n\n"
        f"Pipeline state `{fingerprint[:12]}`; everything else is in the tags, or said by `millrace lineage`.\n"
    )


def shared_view(run_id: str, primary: Primary, metrics: Collection[str]) -> tuple[str, str]:
    """Return the tag of an experiment that holds what the link to the candidates shows: scores as columns, best first.

    An address alone orders the dashboard's table, but cannot choose its columns: what it shows by itself is the data
    set, six times the same (mlflow/server/js, `sharedViewState`).

    Args:
        run_id: Of the pipeline, whose candidates are listed.
        primary: What they are ordered by.
        metrics: Of the test set.
    """
    shown = [
        primary.name,
        *[name for name in ("accuracy", "macro_f1") if name in metrics and name != primary.name],
    ]
    view = {
        "searchFilter": f"tags.`mlflow.parentRunId` = '{run_id}'",
        "orderByKey": f"metrics.`test/{primary.name}`",
        "orderByAsc": not primary.higher_is_better,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
        "selectedColumns": [*(f"metrics.`test/{name}`" for name in shown), "metrics.`val/best_loss`"],
    }
    return f"mlflow.sharedViewState.{run_id}", json.dumps(view, sort_keys=True)


def links(
    base: str, experiment_id: str, run_ids: tuple[str, str], model: str, version: int, *, primary: Primary
) -> dict[str, str]:
    """Return what to open, by name.

    Args:
        base: Address of the server, `http://127.0.0.1:5000`.
        experiment_id: Of the experiment.
        run_ids: Of the pipeline and of the chosen candidate.
        model: Name of the registered model.
        version: Its version.
        primary: What candidates are ordered by.
    """
    page = f"{base.rstrip('/')}/#"
    runs = f"{page}/experiments/{experiment_id}/runs"
    children = f"tags.`mlflow.parentRunId` = '{run_ids[0]}'"
    best = {
        "orderByKey": f"metrics.`test/{primary.name}`",
        "orderByAsc": str(not primary.higher_is_better).lower(),
    }
    ordered = urlencode({"searchFilter": children, **best}, quote_via=quote)
    listed = urlencode({"viewStateShareKey": run_ids[0]})
    # In the usual order the dashboard folds them under their parent, and draws that one alone.
    compare = f"{ordered}&compareRunsMode=CHART"
    addresses = {
        "runs": f"{runs}?",
        "this run": f"{runs}/{run_ids[0]}?",
        "report and pictures": f"{runs}/{run_ids[0]}/artifacts/report.html?",
        "chosen candidate": f"{runs}/{run_ids[1]}/model-metrics?",
        CANDIDATES: f"{runs}?{listed}&",
        "candidates compared": f"{runs}?{compare}&",
        "model": f"{page}/models/{model}?",
        "model version": f"{page}/models/{model}/versions/{version}?",
    }
    return {name: address + WORKFLOW for name, address in addresses.items()}
