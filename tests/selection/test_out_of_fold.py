"""Folds trained for real: kills, equal bytes, and answers of models that never saw the row."""

import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.inference import backend
from pipeline.runtime import paths
from pipeline.runtime.files import read_json, write_json
from pipeline.selection.evidence import read_evidence
from pipeline.selection.folds import Fold, labelled_rows, planned_folds
from pipeline.selection.out_of_fold import FoldTrainings
from pipeline.selection.refit import chance_of_an_epoch, chosen_length, last_of_the_best
from pipeline.stages import folds, refit
from pipeline.training.candidate import train_candidate, write_candidate
from pipeline.training.fit import Length
from tests.helpers.featured import SERIES, WINDOWS, run_features, write_samples, write_split
from tests.helpers.ingested import write_ingested
from tests.helpers.judged import no_folds, stage_of
from tests.helpers.train_project import MODELS, TRAINING, write_train_project

SETTINGS = {
    "min_val_units": 100, "folds": 3, "repeats": 2, "split_method": "stratified", "embargo": 0, "seed": 4, "threads": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def tuned(tmp_path_factory) -> Path:
    """A project of 60 train and 15 val rows whose candidates are tuned; copied by each test."""
    from pipeline.inputs.train_data import load_train_data

    folder = tmp_path_factory.mktemp("tuned")
    before = Path.cwd()
    os.chdir(folder)
    try:
        write_train_project(folder)
        split = pq.read_table(paths.SPLIT_PARQUET)
        write_ingested(folder, np.load(paths.PAYLOAD_NPY), split["label"].to_pylist())
        ids = pq.read_table(paths.SAMPLES_PARQUET)["sample_id"]
        pq.write_table(split.set_column(0, "sample_id", ids), paths.SPLIT_PARQUET)
        for name, epochs in (("cnn", 4), ("autoencoder", 3), ("majority", 0)):
            data = load_train_data(name)
            training = TRAINING | {"epochs": epochs, "ema_momentum": 0.5}
            trained = train_candidate(
                name, data, MODELS[name], training, seed=4, checkpoint_dir=Path("work") / name
            )
            settings = {"family": name, "model": MODELS[name], "training": training, "seed": 4, "threads": 1}
            metrics = write_candidate(paths.tuned_dir(name), trained, data, settings)
            write_json(paths.tuned_dir(name) / "trials.json", [{"number": 0, "metrics": metrics}])
        no_folds("cnn", "autoencoder", "majority")
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def project(tuned: Path, tmp_path: Path, monkeypatch) -> Path:
    """A copy of it; the working directory is inside, and TensorFlow is started already."""
    shutil.copytree(tuned, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(backend, "prepare_tensorflow", lambda *_: None)
    return tmp_path


def files_of(folder: Path) -> dict[str, bytes]:
    """Return name to bytes of the files in a folder."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def cross_validate(name: str = "cnn", **settings) -> dict[str, bytes]:
    """Run the stage and return what it wrote."""
    folds.cross_validate(name, family=name, stage=stage_of("folds"), **(SETTINGS | settings))
    return files_of(paths.folds_dir(name))


@pytest.fixture(scope="module")
def whole(tuned: Path, tmp_path_factory):
    """The folds of `cnn`, run once without a stop: the project, what was written, each training, each traced step."""
    import keras

    folder, calls, traces = tmp_path_factory.mktemp("whole"), [], []
    train, train_step = train_candidate, keras.Model.train_step

    def counted(*arguments, **settings):
        calls.append((settings["checkpoint_dir"].name, settings["stop_after"]))
        return train(*arguments, **settings)

    def traced(model, data):
        traces.append(model)
        return train_step(model, data)

    shutil.copytree(tuned, folder, dirs_exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(backend, "prepare_tensorflow", lambda *_: None)
        patch.setattr("pipeline.training.candidate.train_candidate", counted)
        patch.setattr(keras.Model, "train_step", traced)
        return folder, cross_validate(), calls, traces


def test_folds_that_are_not_needed_cost_no_training(project, monkeypatch):
    """With 15 units asked for and 15 there, nothing is trained and the reason is written down."""

    def trained(*_arguments, **_settings):
        raise AssertionError

    monkeypatch.setattr("pipeline.training.candidate.train_candidate", trained)
    written = cross_validate(min_val_units=15)
    assert list(written) == ["folds.json"]
    assert read_json(paths.folds_dir("cnn") / "folds.json") == {
        "needed": False, "val_units": 15, "why": "15 independent units are at least 15",
    }  # fmt: skip


def test_a_killed_stage_goes_on_behind_the_last_fold_and_ends_in_the_same_bytes(project, whole, monkeypatch):
    """Stopped before its 2nd, 4th and 7th training, the same command trains the rest alone; the bytes are the same."""
    _, expected, trained, _ = whole
    calls, real = [], train_candidate
    kills = {2, 5, len(trained) + 1}

    def counted(*arguments, **settings):
        calls.append((settings["checkpoint_dir"].name, settings["stop_after"]))
        if len(calls) in kills:
            raise KeyboardInterrupt
        return real(*arguments, **settings)

    monkeypatch.setattr("pipeline.training.candidate.train_candidate", counted)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            cross_validate()
    assert expected == cross_validate()
    assert len(set(trained)) == len(trained)
    # Each of three that were interrupted once more.
    assert (len(trained) + 3, set(trained)) == (len(calls), set(calls))
    assert not (paths.STATE_DIR / "folds/cnn").exists()


@pytest.mark.parametrize(("number_of_folds", "batch_size"), [(3, 16), (4, 28)])
def test_answers_are_those_of_models_that_never_saw_the_row(
    project, request, monkeypatch, number_of_folds, batch_size
):
    """Each held row is answered by hand: trained on the others for the median length, asked for it alone.

    With four folds 56 and 57 rows train, which are two and three batches of 28: two models take turns.
    """
    from pipeline.inference.prediction import answers
    from pipeline.inputs.train_data import load_train_data

    settings = read_json(paths.tuned_dir("cnn") / "settings.json")
    if batch_size == settings["training"]["batch_size"]:
        monkeypatch.chdir(request.getfixturevalue("whole")[0])
    else:
        settings["training"]["batch_size"] = batch_size
        write_json(paths.tuned_dir("cnn") / "settings.json", settings)
        cross_validate(folds=number_of_folds)
    told = read_json(paths.folds_dir("cnn") / "folds.json")
    evidence = read_evidence(["cnn"])
    assert (evidence.num_rows, evidence.num_units, len(evidence.rows)) == (75, 75, 150)
    data, rows = load_train_data("cnn"), labelled_rows()
    plan = planned_folds(
        rows,
        data.output_spec,
        folds=number_of_folds,
        repeats=2,
        seed=4,
        split_method="stratified",
        embargo=0,
    )
    for fold in (plan[number_of_folds], plan[-1]):
        trained = train_candidate(
            "cnn", data.on_rows(rows.rows[fold.train], rows.rows[fold.held]), settings["model"],
            settings["training"], seed=4, checkpoint_dir=Path(f"by-hand-{fold.number}"), length=Length(**told["length"]),
        )  # fmt: skip
        by_hand = answers(
            trained.model, data.inputs, rows.rows[fold.held], settings["training"], data.output_spec
        )
        names = [rows.sample_ids[position] for position in fold.held]
        found = {name: evidence.answers("cnn")[evidence.rows.sample_ids.index(name) + 1] for name in names}
        assert np.array_equal(by_hand, np.stack([found[name] for name in names]))


def test_all_folds_are_traced_once(whole):
    """Nine trainings of two lengths: their step is traced twice."""
    *_, traces = whole
    assert len(traces) == 2


def test_balanced_classes_are_traced_by_their_counts(project):
    """Weights of classes are numbers in the graph: folds share it where they count the same."""
    from pipeline.inputs.train_data import load_train_data

    data, settings = load_train_data("cnn"), read_json(paths.tuned_dir("cnn") / "settings.json")
    parts = [data.on_rows(np.arange(rows), np.arange(0)) for rows in (48, 48, 47)]
    for weights, expected in (("none", 1), ("balanced", 2)):
        own = settings | {"training": settings["training"] | {"class_weights": weights}}
        trainings = FoldTrainings("cnn", data, np.arange(75), own, Path("memo"), say=print)
        assert expected == len({id(trainings.traced_for(part, None)) for part in parts})


def test_solved_families_have_shares_without_the_held_rows(project):
    """What majority answers for a row are the class shares of the rows it was fitted on."""
    cross_validate("majority")
    given = read_evidence(["majority"]).answers("majority")
    assert len(np.unique(given.round(6), axis=0)) <= 6
    assert not np.allclose(given, given[0])


@pytest.mark.parametrize(
    ("monitor", "curves", "expected"),
    [
        # Means of 1, 2 and 1 rows: 2.5, 2, 2.25, 3. The median of the three best epochs would be 1.
        ("val_loss", ([1, 4, 4, 4], [3, 1, 1.5, 3], [3, 2, 2, 2]), 2),
        ("val_accuracy", ([0, 0, 0, 1], [0, 0.5, 0, 0], [0, 0, 0, 1]), 4),
    ],
)
def test_the_length_is_the_best_of_all_held_rows_together(project, monkeypatch, monitor, curves, expected):
    """Best after that epoch, of 2, 2 and 3 steps: the median of the steps."""
    settings = read_json(paths.tuned_dir("cnn") / "settings.json")
    settings["training"] |= {"monitor": monitor, "early_stopping_patience": 4}
    trainings = FoldTrainings("cnn", None, np.arange(4), settings, Path("memo"), say=print)

    def measured(fold, until):
        steps = {"steps_per_epoch": (2, 2, 3)[fold.number], "pretrain_steps": 0}
        return {"curve": curves[fold.number][:until], **steps}

    monkeypatch.setattr(trainings, "_measured", measured)
    plan = [Fold(0, number, None, np.arange(rows)) for number, rows in enumerate((1, 2, 1))]
    assert Length(2 * expected, 2, 0) == trainings.length(plan)


@pytest.mark.parametrize(("patience", "trained"), [(1, 3), (2, 4), (0, 4)])
def test_folds_end_together(project, monkeypatch, capsys, patience, trained):
    """Best after the first of 4 epochs: they end once that is longer ago than the patience, else a third of 4.

    Each stretch that is done is told: minutes of silence look like a program that hangs.
    """
    settings = read_json(paths.tuned_dir("cnn") / "settings.json")
    settings["training"]["early_stopping_patience"] = patience
    trainings, seen = FoldTrainings("cnn", None, np.arange(4), settings, Path("memo"), say=print), []

    def measured(_fold, until):
        seen.append(until)
        return {"curve": [1, 2, 3, 4][:until], "steps_per_epoch": 2, "pretrain_steps": 0}

    monkeypatch.setattr(trainings, "_measured", measured)
    assert Length(2, 2, 0) == trainings.length([Fold(0, 0, None, np.arange(2))])
    assert trained == seen[-1]
    told = [f"1 folds side by side: {until} of at most 4 epochs, best after 1" for until in seen if until < 4]
    assert [*told, f"best after epoch 1; {trained} of 4 trained"] == capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("name", ["cnn", "autoencoder"])
def test_the_refit_trains_on_every_labelled_row_for_the_chosen_steps(project, name):
    """75 rows instead of 60, the steps of the last good epoch; again and after a kill the same bytes; papers stay."""
    refit.refit(["cnn", "autoencoder", "majority"], [name], {}, stage_of("refit"))
    made = files_of(paths.selected_dir(name))
    tuned = files_of(paths.tuned_dir(name))
    changed = {file for file in made if made[file] != tuned[file]}
    assert (
        {"model.keras", "settings.json"} <= changed <= {"model.keras", "settings.json", "autoencoder.keras"}
    )
    history = read_json(paths.tuned_dir(name) / "history.json")
    best, before = (last_of_the_best(history.get(part, []), "val_loss") for part in ("epochs", "pretrain"))
    assert (before > 0) == (name == "autoencoder")
    told = read_json(paths.selected_dir(name) / "settings.json")["refit"]
    # 60 rows are 4 batches of 16, 75 rows are 5.
    assert (75, best * 4, max(1, round(best * 4 / 5))) == (told["rows"], told["steps"], told["epochs"])
    assert told["pretrain_steps"] == before * 4
    assert files_of(paths.selected_dir("majority")) == files_of(paths.tuned_dir("majority"))
    refit.refit(["cnn", "autoencoder", "majority"], [name], {}, stage_of("refit"))
    assert made == files_of(paths.selected_dir(name))


def test_a_killed_refit_ends_in_the_same_bytes(project, monkeypatch):
    """Stopped within its second epoch, the same command goes on from the checkpoint of the first."""
    history = [{"epoch": epoch, "val_loss": 1 / epoch} for epoch in range(1, 5)]
    write_json(paths.tuned_dir("cnn") / "history.json", {"epochs": history})
    refit.refit(["cnn"], ["cnn"], {}, stage_of("refit"))
    expected = files_of(paths.selected_dir("cnn"))
    from pipeline.training import fit

    real, saved = fit.save_checkpoint, []

    def died(path, groups, state):
        real(path, groups, state)
        saved.append(state["epoch"])
        if len(saved) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(fit, "save_checkpoint", died)
    with pytest.raises(KeyboardInterrupt):
        refit.refit(["cnn"], ["cnn"], {}, stage_of("refit"))
    assert files_of(paths.selected_dir("cnn")) != expected
    refit.refit(["cnn"], ["cnn"], {}, stage_of("refit"))
    assert expected == files_of(paths.selected_dir("cnn"))
    assert saved == [1, 2, 3]


@pytest.mark.long
def test_folds_and_refit_are_trained_by_as_many_processes_as_the_candidate(project):
    """Two learn what one learns, but for rounding: the same length, close answers and weights, and other bytes."""
    from pipeline.inference.keras_files import load_model

    made = []
    settings = read_json(paths.tuned_dir("cnn") / "settings.json")
    model = settings["model"] | {"batch_normalization": False, "dropout": 0.0}
    for workers in (1, 2):
        training = settings["training"] | {"augment": None, "workers": workers}
        write_json(
            paths.tuned_dir("cnn") / "settings.json", settings | {"model": model, "training": training}
        )
        cross_validate()
        refit.refit(["cnn"], ["cnn"], {}, stage_of("refit"))
        refitted = load_model(paths.selected_dir("cnn") / "model.keras").get_weights()
        length = read_json(paths.folds_dir("cnn") / "folds.json")["length"]
        made.append((length, [*refitted, np.load(paths.folds_dir("cnn") / "answers.npy")]))
    (length, one), (expected, two) = made
    assert expected == length
    for first, second in zip(one, two, strict=True):
        np.testing.assert_allclose(second, first, atol=1e-5)
    assert any((first != second).any() for first, second in zip(one, two, strict=True)), (
        "or one process trained both"
    )


def test_the_length_of_folds_counts_where_there_were_any(project):
    """The refit trains what folds found, not the best epoch of a validation that was too small."""
    write_json(
        paths.folds_dir("cnn") / "folds.json",
        {"needed": True, "length": {"steps": 40, "steps_per_epoch": 4, "pretrain_steps": 0}},
    )
    assert Length(40, 4, 0) == chosen_length("cnn", 60)
    assert Length(40, 4, 0).epochs(5) == 8


def test_a_candidate_without_folds_is_trained_again_until_its_last_good_epoch(project):
    """Steps are those of the tuned candidate's epochs: two passes of 4 batches of 16 of 60 rows."""
    write_json(paths.folds_dir("cnn") / "folds.json", {"needed": False})
    tuned = paths.tuned_dir("cnn")
    settings = read_json(tuned / "settings.json")
    training = settings["training"] | {
        "batch_size": 16,
        "monitor": "val_accuracy",
        "epochs": 10,
        "min_steps": 80,
    }
    write_json(tuned / "settings.json", settings | {"training": training})
    accuracy = [0.1, 0.3, 0.6, 0.7, 0.82, 0.78, 0.79, 0.81, 0.79, 0.5]
    write_json(
        tuned / "history.json",
        {
            "epochs": [{"epoch": place + 1, "val_accuracy": value} for place, value in enumerate(accuracy)],
            "pretrain": [
                {"epoch": place + 1, "val_loss": value} for place, value in enumerate([3.0, 1.0, 2.0])
            ],
        },
    )
    assert Length(9 * 8, 8, 2 * 8) == chosen_length("cnn", 60)


def last_of(curve, monitor="val_loss"):
    return last_of_the_best(
        [{"epoch": place + 1, monitor: value} for place, value in enumerate(curve)], monitor
    )


def test_one_lucky_epoch_does_not_end_the_refit():
    """By hand: second differences of the zigzag are 0.04, so that one epoch's chance is 0.04 / sqrt(6 x 0.4549) = 0.024."""
    zigzag = [0.5 + 0.01 * (-1) ** place for place in range(40)]
    lucky = [*zigzag[:20], 0.45, *zigzag[21:]]
    assert last_of(lucky) == 40
    # 0.06 lower is more than two of it.
    assert last_of([*zigzag[:20], 0.43, *zigzag[21:]]) == 21
    assert last_of([-value for value in lucky], "val_accuracy") == 40


def test_a_curve_without_chance_ends_with_its_best_epoch():
    """A steep start and rows that are known by heart soon; equal epochs; and nine, too few to say what is chance."""
    by_heart = [2.0, 0.5, *(0.5 + 0.01 * place for place in range(1, 59))]
    assert last_of(by_heart) == 2
    assert last_of([0.4, 0.2, 0.2, 0.2]) == last_of([0.4, 0.3, 0.25, 0.2]) == 4
    jumpy = [0.5, 0.4, 0.5, 0.39, 0.5, 0.4, 0.5, 0.4, 0.5, 0.4]
    assert [4, 10] == [last_of(jumpy[:count]) for count in (9, 10)]
    assert last_of([0.1, 0.2]) == last_of([0.1]) == 1
    assert last_of([]) == 0


def test_what_is_chance_of_one_epoch_is_found_on_a_slope():
    """5,000 epochs of a trend with noise of 0.02: the estimate is within 5 % of it."""
    noise = np.random.default_rng(0).normal(0, 0.02, 5000)
    curve = 3 - 1e-3 * np.arange(5000) + noise
    assert abs(chance_of_an_epoch(curve) / 0.02 - 1) < 0.05


def test_forecasts_are_held_out_behind_what_trained(tmp_path, monkeypatch):
    """Windows of one series in four stretches of time; each answer is the value a day before, by hand."""
    from pipeline.inputs.train_data import load_train_data

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(backend, "prepare_tensorflow", lambda *_: None)
    load = np.random.default_rng(0).normal(size=(300, 1)).astype(np.float32)
    write_samples(
        Path(), load, [300], channels=("load",), time=["2026-01-05T00:00:00"], step_seconds=[3600.0]
    )
    write_split(Path(), ["train", "val", "test"], rows=[0, 0, 0], starts=[0, 180, 240], stops=[180, 240, 300])
    asked = {"length": 24, "horizon": 6, "known": [], "known_categorical": [], "calendar": []}
    run_features(task="forecasting", windows=WINDOWS | asked, series=SERIES)
    training = TRAINING | {"epochs": 0}
    data = load_train_data("naive")
    trained = train_candidate("naive", data, {"season": 24}, training, seed=4, checkpoint_dir=Path("work"))
    settings = {"family": "naive", "model": {"season": 24}, "training": training, "seed": 4, "threads": 1}
    write_candidate(paths.tuned_dir("naive"), trained, data, settings)
    cross_validate("naive", split_method="time")
    sizes = read_json(paths.folds_dir("naive") / "folds.json")["folds"]
    evidence = read_evidence(["naive"])
    starts = evidence.rows.timeline.starts
    assert [0, 1, 2] == [number for _, number, _, _ in sizes]
    assert len(starts) == sum(held for *_, held in sizes) == len(set(starts.tolist()))
    # A window that reaches into what is held does not train: of the first stretch five windows fewer.
    assert sizes[0][2] + 5 == len(labelled_rows()) - len(starts)
    assert evidence.num_units == sum(-(-count // 6) for count in evidence.rows.timeline.segments)
    by_hand = load[starts[:, None] + np.arange(6) - 24]
    assert evidence.answers("naive") == pytest.approx(by_hand, abs=1e-5)
    assert evidence.rows.targets == pytest.approx(load[starts[:, None] + np.arange(6)])
