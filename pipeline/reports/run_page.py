"""Texts of the pages in MLflow, written to be read: the verdict first, because a page shows four lines.

And the links that open the right view.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from pipeline.metrics.names import in_words, primary_called, shown

WORKFLOW = "workflowType=machine_learning"
"""Without it the UI opens in the mode for prompts and traces, which hides the model registry."""
VERDICTS = {
    "promoted": "became champion",
    "refused": "was not promoted",
    "unchanged": "is the champion already",
    "held": "would become champion, and is held",
}
"""Decision to words, which follow the name of a model."""


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


def version_page(candidate: str, test_score: str, fingerprint: str) -> str:
    """Return the description of a model version, true for as long as it exists; a table shows its start as is."""
    return f"{candidate}: {test_score}.\n\nPipeline state `{fingerprint[:12]}`; everything else is in the tags.\n"


def test_score(card: Mapping[str, Any]) -> str:
    """Return the primary metric on test of a model's card in words."""
    name = card["primary"]["name"]
    interval = card["test"][name]
    value, low, high = (shown(interval[part]) for part in ("value", "low", "high"))
    return f"test {in_words(name)} {value} ({low} to {high})"


def best_first(rows: Sequence[Mapping[str, Any]], metric: str, part: str = "val") -> list[Mapping[str, Any]]:
    """Return rows of candidates.json, the best by a metric first; those without a value last.

    Args:
        rows: The candidates.
        metric: Its name, which tells its direction.
        part: `val` or `test`.
    """
    sign = primary_called(metric).sign

    def key(row: Mapping[str, Any]) -> tuple[bool, float]:
        found = row[part].get(metric)
        value = found["value"] if isinstance(found, Mapping) else found
        return (value is None, 0.0 if value is None else -sign * float(value))

    return sorted(rows, key=key)


def links(
    base: str, experiment_id: str, run_ids: tuple[str, str], model: str, version: int
) -> dict[str, str]:
    """Return what to open, by name.

    Args:
        base: Address of the server, `http://127.0.0.1:5000`.
        experiment_id: Of the experiment.
        run_ids: Of the pipeline and of the chosen candidate.
        model: Name of the registered model.
        version: Its version.
    """
    page = f"{base.rstrip('/')}/#"
    runs = f"{page}/experiments/{experiment_id}/runs"
    children = f"tags.`mlflow.parentRunId` = '{run_ids[0]}'"
    compare = urlencode({"searchFilter": children, "compareRunsMode": "CHART"}, quote_via=quote)
    addresses = {
        "runs": f"{runs}?",
        "this run": f"{runs}/{run_ids[0]}?",
        "pictures": f"{runs}/{run_ids[0]}/artifacts?",
        "chosen candidate": f"{runs}/{run_ids[1]}/model-metrics?",
        "candidates compared": f"{runs}?{compare}&",
        "model": f"{page}/models/{model}?",
        "model version": f"{page}/models/{model}/versions/{version}?",
    }
    return {name: address + WORKFLOW for name, address in addresses.items()}
