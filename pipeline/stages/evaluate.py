"""Choose by validation, then open the test set once, for everybody.

Reads: models/tuned/<candidate>/ of every candidate in params.yaml, data/split/split.parquet,
data/features/{state.json,features.npy}, data/interim/images.npy.
Writes: reports/evaluate/{metrics.json,tables/,pictures/} and models/best/: model.keras, settings.json,
state.json, card.json, golden.npz (16 test inputs with their probabilities), probabilities of the chosen
model and of the baselines on test.
Parameters: candidates, evaluate, seed, threads.
"""

import shutil
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from pipeline import paths, runtime, selection
from pipeline.artifacts import finite, write_json
from pipeline.config import BASELINE_FAMILIES, load_params
from pipeline.judgement import (
    Bootstrap,
    Candidate,
    Judgement,
    judge,
    judge_classes,
    named_metrics,
    read_candidate,
)


def main() -> None:
    """Run the stage from the command line."""
    with runtime.stage("evaluate") as stage:
        params = load_params()
        runtime.prepare_tensorflow(params.threads, params.seed)
        settings = params.evaluate
        judgement = evaluate(
            {name: msgspec.to_builtins(block)["family"] for name, block in params.candidates.items()},
            select_by=settings.select_by,
            bootstrap=Bootstrap(settings.bootstrap_resamples, settings.confidence, params.seed),
            num_bins=settings.calibration_bins,
        )
        accuracy = judgement.test[judgement.choice.chosen]["accuracy"]
        stage.console.print(judgement.choice.reason, highlight=False)
        stage.console.print(
            f"test accuracy {accuracy.value:.4f} ({accuracy.low:.4f} to {accuracy.high:.4f})", highlight=False
        )


def evaluate(
    families: Mapping[str, str], *, select_by: str, bootstrap: Bootstrap, num_bins: int
) -> Judgement:
    """Choose a candidate, judge all of them on test, and write the reports and `models/best`.

    Args:
        families: Candidate to family; whatever else lies in models/tuned is of the past.
        select_by: Short name of the metric that chooses, on validation.
        bootstrap: How intervals are made.
        num_bins: Bins of the calibration error.

    Raises:
        DataRefused: No candidate but baselines, or no test rows.
        ValueError: A prediction or a metric is not a finite number.
    """
    # Here, because they import Keras, which must wait for `runtime.prepare_tensorflow`.
    from pipeline.best_model import write_best
    from pipeline.codes_comparison import compare_codes
    from pipeline.contenders import load_test_rows, score
    from pipeline.judgement_pictures import draw_pictures
    from pipeline.judgement_tables import card, summary, write_tables
    from pipeline.train_data import load_train_data

    for folder in (paths.EVALUATE_TABLES_DIR, paths.EVALUATE_PICTURES_DIR, paths.BEST_DIR):
        shutil.rmtree(folder, ignore_errors=True)
    data = load_train_data("autoencoder")
    classes = data.output_spec.classes
    metrics = named_metrics(num_bins)
    y_val = data.targets[data.val_rows].astype(np.int64)
    candidates = {
        name: read_candidate(name, family, paths.tuned_dir(name), y_val, metrics)
        for name, family in families.items()
    }
    baselines = tuple(name for name, family in families.items() if family in BASELINE_FAMILIES)
    choice = _choose([item for name, item in candidates.items() if name not in baselines], select_by)
    # Written before the test set is opened: nothing seen there can have moved the choice.
    write_json(paths.EVALUATE_TABLES_DIR / "selection.json", choice.as_json())

    test = load_test_rows()
    if not len(test.rows):
        raise runtime.DataRefused(
            "There are no test rows to judge by. Expected some. Raise split.test_share."
        )
    y_true = test.class_indices(classes)
    probabilities = {
        name: np.asarray(score(name, item.folder / "model.keras", item.folder, test).probabilities)
        for name, item in candidates.items()
    }
    judgement = Judgement(
        choice=choice,
        candidates=candidates,
        baselines=baselines,
        classes=classes,
        sample_ids=test.sample_ids,
        y_true=y_true,
        probabilities=probabilities,
        test=judge(y_true, probabilities, metrics, bootstrap),
        per_class=judge_classes(y_true, probabilities[choice.chosen], bootstrap),
    )
    autoencoder = _best_autoencoder(choice, candidates)
    codes = None
    if autoencoder is not None:
        path = autoencoder.folder / "autoencoder.keras"
        codes = compare_codes(path, data, test_rows=test.rows, y_test=y_true, bootstrap=bootstrap)

    content = summary(judgement, codes)
    finite(content, "reports/evaluate/metrics.json")
    write_tables(paths.EVALUATE_TABLES_DIR, judgement, codes)
    inputs = {"images": data.inputs, "test_rows": test.rows}
    draw_pictures(paths.EVALUATE_PICTURES_DIR, judgement, codes, **inputs, num_bins=num_bins)
    write_best(paths.BEST_DIR, judgement, test, card(judgement, bootstrap.confidence))
    write_json(paths.EVALUATE_METRICS, content)
    return judgement


def _choose(candidates: Sequence[Candidate], select_by: str) -> selection.Choice:
    entries = [selection.Entry(item.name, item.val[select_by], item.parameters) for item in candidates]
    return selection.choose(entries, select_by)


def _best_autoencoder(choice: selection.Choice, candidates: Mapping[str, Candidate]) -> Candidate | None:
    ranked = [candidates[entry.name] for entry in choice.ranking]
    return next((item for item in ranked if item.family == "autoencoder"), None)


if __name__ == "__main__":
    main()
