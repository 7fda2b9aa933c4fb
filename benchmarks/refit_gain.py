"""What do a refit on train and validation, and the mean of several models, bring on the test set of a project that ran?

For every model that was trained again after the choice: how much better it is on test than the same model as it was
before, and for the ensemble: than the best of its members by the rows that chose. Both at the same temperature and
threshold, by the metric that chooses and by log loss where there are classes; paired differences with 95 % intervals,
positive where the refit or the ensemble is better. Test is looked at for this and nothing is chosen by it.

Run: .venv/bin/python benchmarks/refit_gain.py PROJECT ...     (folders in which `dvc repro` has ended)
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


def compare(project: Path) -> None:
    """Print a line per model that was trained again, and one for the ensemble."""
    os.chdir(project)
    from pipeline.evaluation.measures import Yardstick, measures_of
    from pipeline.evaluation.results import Bootstrap
    from pipeline.evaluation.rows import load_rows
    from pipeline.evaluation.scoring import score
    from pipeline.inference import backend
    from pipeline.inputs.train_data import load_train_data
    from pipeline.metrics.names import primary_called
    from pipeline.metrics.paired import paired_difference
    from pipeline.params.load import load_params
    from pipeline.runtime import paths
    from pipeline.runtime.files import read_json
    from pipeline.selection.refit import temper

    params = load_params()
    backend.prepare_tensorflow(params.threads, params.seed)
    settings = params.evaluate
    choice, selection = read_json(paths.CHOICE_JSON), read_json(paths.SELECTION_JSON)
    bootstrap = Bootstrap(settings.bootstrap_resamples, settings.confidence, params.seed)
    rows = load_rows("test", settings.season)
    yardstick = Yardstick.of(
        settings.calibration_bins, params.data.positive_class, settings.anomaly, settings.select_by
    )
    measures = measures_of(rows, load_train_data("cnn").output_spec, yardstick)
    points = {
        entry["candidate"]: {
            "positive_class": measures.classes[measures.positive],
            "threshold": entry["threshold"],
        }
        if "threshold" in entry
        else {}
        for entry in selection["ranking"]
    }

    def answers(name: str, folder: Path) -> object:
        return measures.scored(score(name, folder / "model.keras", folder, rows).predictions, points[name])

    def told(better: str, worse: str, first: object, second: object) -> None:
        for metric in dict.fromkeys((settings.select_by, "log_loss")):
            found = [measures.metrics(points[name.split()[0]]).get(metric) for name in (better, worse)]
            if None in found:
                continue
            sign = primary_called(metric).sign
            values = [
                float(one(measures.y_true, given, None))
                for one, given in zip(found, (first, second), strict=True)
            ]
            gain = paired_difference(
                *found, measures.y_true, first, second,
                **bootstrap.over(measures.blocks),
            )  # fmt: skip
            low, high = sorted((sign * gain.low, sign * gain.high))
            print(
                f"{project.name}: {better} against {worse}: {metric} {values[0]:.4f}, {values[1]:.4f}; "
                f"better by {sign * gain.value:+.4f} ({low:+.4f} to {high:+.4f})",
                flush=True,
            )

    for name in choice["refit"]:
        if name not in points or name == "majority":
            continue
        with tempfile.TemporaryDirectory() as temporary:
            before = shutil.copytree(paths.tuned_dir(name), Path(temporary) / name)
            if name in choice["temperatures"]:
                temper(before, choice["temperatures"][name])
            told(
                name,
                f"{name} before the refit",
                answers(name, paths.selected_dir(name)),
                answers(name, before),
            )
    if choice.get("members"):
        best = next(one["candidate"] for one in selection["ranking"] if one["candidate"] in choice["members"])
        told(
            paths.ENSEMBLE, best,
            answers(paths.ENSEMBLE, paths.selected_dir(paths.ENSEMBLE)), answers(best, paths.selected_dir(best)),
        )  # fmt: skip


def main() -> None:
    """Compare in one process per project."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("projects", nargs="+", type=Path)
    projects = parser.parse_args().projects
    if len(projects) == 1:
        compare(projects[0].absolute())
        return
    for project in projects:
        subprocess.run([sys.executable, __file__, str(project)], check=True)


if __name__ == "__main__":
    main()
