"""What ways of labelling come to: a table for folders, numbers from images, several labels, a class for every step.

Each question is a project of its own, made from this repository's HEAD: `millrace init`, the params.yaml that it
writes with some settings laid over it (below), and `dvc repro evaluate`. Minutes each on 2 cores.

Run: .venv/bin/python benchmarks/labelling.py WHAT DATA FOLDER
     WHAT    clothing, discs, slant, bits, intents, rooms or activities
     DATA    holds clothing-small, banking77, indoor-movement and uea-a as published
     FOLDER  new; gets the data and the projects
"""

import csv
import io
import json
import math
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image, ImageDraw
from ruamel.yaml import YAML
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import average_precision_score, f1_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import MultiLabelBinarizer, StandardScaler

ROOT = Path(__file__).parents[1]
SEED = 7


def repro(folder, source, candidates, changes, units="mean_absolute_error"):
    """Print what a project comes to: init, some candidates, `changes` of params.yaml, and everything to evaluate.

    Args:
        folder: Of the project, new.
        source: Kind, path and options of the data.
        candidates: Name to settings, None for those that init chose.
        changes: Section to settings.
        units: Name of the metric.
    """
    kind, path, options = source
    subprocess.run(["git", "clone", "-q", ROOT, folder], check=True)
    (folder / ".venv").symlink_to(Path(sys.prefix).resolve())
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = [sys.executable, "-m", "pipeline.cli", "init", "--kind", kind, "--path", str(path), "--force"]
    command += [part for option in options for part in ("--set", option)]
    run([sys.executable, "-m", "pipeline.runtime.dvc_place"], folder, environment)  # as `make setup` does
    run(command, folder, environment)
    yaml = YAML()
    params = yaml.load(folder / "params.yaml")
    for name in set(params["candidates"]) - set(candidates):
        del params["candidates"][name]
    for name, settings in candidates.items():
        if settings is not None:
            params["candidates"][name] = settings
    for section, values in changes.items():
        params[section].update(values)
    params["tune"]["trials"] = 0
    params["reduce"] = None
    for name in params["candidates"]:
        params["candidates"][name]["tune"] = {}
    yaml.dump(params, folder / "params.yaml")
    run(["dvc", "repro", "evaluate"], folder, environment)
    metrics = json.loads((folder / "reports/evaluate/metrics.json").read_text())
    test, low, high = (metrics["test"][f"{units}{end}"] for end in ("", "_low", "_high"))
    beside = {name: found[f"test_{units}"] for name, found in metrics["baselines"].items()}
    words = ", ".join(f"{name} {value:.4f}" for name, value in sorted(beside.items()))
    chosen = json.loads((folder / "reports/select/selection.json").read_text())
    ranking = ", ".join(f"{row['candidate']} {row['score']:.4f}" for row in chosen["ranking"])
    print(f"{folder.name}: {chosen['chosen']} is chosen; by {chosen['chosen_by']} {ranking}")
    print(f"{folder.name}: test {units} {test:.4f} ({low:.4f} to {high:.4f}); {words}", flush=True)


def run(command, folder, environment):
    """Run a command in a project; what it says is shown where it fails."""
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    (folder.parent / f"{folder.name}.log").write_text(done.stdout + done.stderr)
    if done.returncode:
        sys.exit(
            f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        )


def clothing(data, folder):
    """Print whether folders and a table with a split column end in the same metrics, byte by byte."""
    source = folder / "set"
    shutil.copytree(data / "clothing-small", source)
    names = sorted(path.relative_to(source) for path in source.rglob("*.jpg"))
    with (source / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "kind", "use"])
        rows.writerows([name.stem, name.parts[1], name.parts[0]] for name in reversed(names))
    candidates = {"dense": None, "linear": None, "majority": None}
    changes = {
        "data": {"image_size": [32, 32]},
        "features": {"groups": ["colour", "edges"], "edge_cell_px": 8},
        "training": {"epochs": 12},
        "register": {"model_name": "clothes", "experiment": "clothes"},
    }
    ways = {
        "as_folders": ("image_folder", source, ["ignore=labels.csv,*.md"]),
        "as_table": (
            "image_table",
            source / "labels.csv",
            ["path=image", "label=kind", "split=use", "ignore=*.md"],
        ),
    }
    for name, (kind, path, options) in ways.items():
        repro(folder / name, (kind, path, options), candidates, changes, "accuracy")
    for name in (
        "data/interim/samples.parquet",
        "data/interim/payload.npy",
        "data/split/split.parquet",
        "models/best/model.keras",
        "reports/evaluate/metrics.json",
    ):
        first, second = ((folder / way / name).read_bytes() for way in ways)
        print(f"{name}: {'equal' if first == second else 'DIFFERENT'}")


def with_numbers(folder, pictures, target, size):
    """Print the errors on pictures and a number for each, from a folder and a CSV.

    Args:
        folder: Gets them.
        pictures: (name, encoded image, number) each.
        target: Name of the number.
        size: Side of the images that models see, in pixels.
    """
    (folder / "set/pictures").mkdir(parents=True)
    with (folder / "set/labels.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["file", target])
        for name, content, number in pictures:
            (folder / "set/pictures" / name).write_bytes(content)
            rows.writerow([name, f"{number:.5f}"])
    changes = {
        "data": {"image_size": [size, size], "resize": "stretch"},
        "features": {"groups": ["colour", "edges"], "edge_cell_px": size // 4},
        "training": {"epochs": 30, "batch_size": 32, "early_stopping_patience": 8},
        "validate": {
            "near_hash_distance": 0,
            "near_pixel_difference": 0.0,
        },  # discs of one size are no copies
        "leaks": {
            "accepted": [
                {
                    "finding": "near-neighbours",
                    "up_to": 0.2,
                    "reason": "discs of one size look alike and are drawn apart",
                }
            ]
        },
    }
    options = ["path=file", f"target={target}"]
    candidates = dict.fromkeys(("cnn", "rnn", "autoencoder", "dense", "linear", "majority"))
    repro(folder / "project", ("image_table", folder / "set/labels.csv", options), candidates, changes)
    by_scikit_learn(folder / "project")


def rows_of(folder):
    """Return the samples of a project in their order in arrays, and the split of each."""
    samples = pq.read_table(folder / "data/interim/samples.parquet").to_pandas().sort_values("row")
    split = pq.read_table(folder / "data/split/split.parquet").to_pandas().set_index("sample_id")
    return samples, split.loc[samples.sample_id, "split"].to_numpy()


def by_scikit_learn(folder):
    """Print the error of scikit-learn's ridge on the same hand-made features of colour and edges, and of the mean."""
    samples, split = rows_of(folder)
    inputs, target = np.load(folder / "data/features/features.npy"), samples.target.to_numpy()
    test = split == "test"
    ridge = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-2, 5, 22))).fit(inputs[~test], target[~test])
    error = np.abs(ridge.predict(inputs[test]) - target[test]).mean()
    mean = np.abs(target[~test].mean() - target[test]).mean()
    print(f"{folder.name}: scikit-learn's ridge {error:.4f}, mean {mean:.4f} on {test.sum()} images")


def encoded(pixels):
    """Return pixels as a PNG file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


def discs(_data, folder):
    """Discs of a drawn radius (2 to 12 of 32 pixels), drawn grey on drawn grey: the answer is known."""
    rng = np.random.default_rng(SEED)
    pictures = []
    for number in range(1500):
        radius, grey = rng.uniform(2, 12), rng.integers(0, 256, 2)
        x, y = rng.uniform(radius, 32 - radius, 2)
        big = Image.new("L", (256, 256), int(grey[0]))
        box = [8 * (x - radius), 8 * (y - radius), 8 * (x + radius), 8 * (y + radius)]
        ImageDraw.Draw(big).ellipse(box, fill=int(grey[0] + 128) % 256)
        small = np.asarray(big.resize((32, 32), Image.Resampling.BOX)).astype(int) + rng.integers(
            -8, 9, (32, 32)
        )
        pictures.append((f"{number:04d}.png", encoded(small.clip(0, 255).astype(np.uint8)), radius))
    with_numbers(folder, pictures, "radius", 32)


def slant(_data, folder):
    """Handwritten digits and how far they lean: degrees, by second moments of the ink of the raw pixels."""
    from sklearn.datasets import load_digits

    rows, columns = np.mgrid[0:8, 0:8]
    pictures = []
    for number, ink in enumerate(load_digits().images):
        total = ink.sum()
        y, x = rows - (rows * ink).sum() / total, columns - (columns * ink).sum() / total
        angle = math.degrees(math.atan2(-(x * y * ink).sum(), (y * y * ink).sum()))
        pictures.append((f"{number:04d}.png", encoded((ink * 15.9375).astype(np.uint8)), angle))
    with_numbers(folder, pictures, "degrees", 8)


def bits(data, folder):
    """Photographs of clothes and the bits per pixel of their JPEG files: known of the file, not of 32 x 32 pixels."""
    pictures = []
    for path in sorted((data / "clothing-small").rglob("*.jpg")):
        content = path.read_bytes()
        with Image.open(io.BytesIO(content)) as image:
            pixels = image.size[0] * image.size[1]
        pictures.append((path.name, content, 8 * len(content) / pixels))
    with_numbers(folder, pictures, "bits", 32)


WINDOWS = ("cnn", "rocket", "nearest", "linear", "majority")


def steps(folder, recordings, options, changes):
    """Print the accuracy on windows of recordings, each (name, series, class of every step)."""
    for name, series, classes in recordings:
        path = folder / "set" / f"{name}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow([*(f"c{channel}" for channel in range(series.shape[1])), "state"])
            rows.writerows(
                [*(f"{value:.6g}" for value in step), state]
                for step, state in zip(series, classes, strict=True)
            )
    candidates = dict.fromkeys(WINDOWS)
    changes["evaluate"] = {"select_by": "accuracy"}
    repro(folder / "project", ("series_files", folder / "set", options), candidates, changes, "accuracy")


def rooms(data, folder):
    """Radio signals of persons that walk: does this one change rooms? Judged on a place that nobody trained on."""
    with zipfile.ZipFile(data / "indoor-movement/IndoorMovement.zip") as archive:
        read = {name: archive.read(name).decode() for name in archive.namelist() if name.endswith(".csv")}

    def table(part):
        (text,) = (text for name, text in read.items() if name.endswith(part))
        return {row[0].strip(): row[1].strip() for row in csv.reader(text.splitlines()[1:]) if row}

    classes, room = table("MovementAAL_target.csv"), table("MovementAAL_DatasetGroup.csv")
    recordings = []
    for name, text in read.items():
        found = re.search(r"RSS_(\d+)[.]csv$", name)
        if found:
            series = np.array([[float(cell) for cell in line.split(",")] for line in text.splitlines()[1:]])
            state = "changes" if classes[found[1]] == "1" else "stays"
            recordings.append((f"{room[found[1]]}/{found[1]}", series, [state] * len(series)))
    changes = {
        "data": {"labelled_windows": {"length": 20, "stride": 10, "label": "majority"}},
        "split": {"method": "group", "val_share": 0.3, "test_share": 0.34, "salt": "millrace-5"},
        "training": {"epochs": 30},
    }
    steps(folder, recordings, ["step_label=state", "folders=group"], changes)


def activities(data, folder):
    """Sessions of four activities after another, made of BasicMotions: which one do 50 steps show?"""
    rng = np.random.default_rng(SEED)
    recordings, targets = [], []
    for split in ("TRAIN", "TEST"):
        lines = (data / f"uea-a/BasicMotions/BasicMotions_{split}.ts").read_text().splitlines()
        rows = [line.split(":") for line in lines if line and not line.startswith(("@", "#"))]
        by_class = {}
        for *channels, state in rows:
            series = np.array([[float(cell) for cell in channel.split(",")] for channel in channels]).T
            by_class.setdefault(state.strip(), []).append(series)
        for number in range(min(map(len, by_class.values()))):
            order = rng.permutation(sorted(by_class))
            name = f"{split.lower()}_{number:02d}"
            series = [by_class[state][number] for state in order]
            classes = [state for state, part in zip(order, series, strict=True) for _ in part]
            recordings.append((name, np.concatenate(series), classes))
            targets.append((name, split.lower()))
    (folder / "set").mkdir(parents=True)
    (folder / "set/splits.txt").write_text("run,use\n" + "".join(f"{name},{use}\n" for name, use in targets))
    changes = {
        "data": {"labelled_windows": {"length": 50, "stride": 25, "label": "majority"}},
        "split": {"method": "given", "val_share": 0.3},
        "training": {"epochs": 60},
    }
    options = ["step_label=state", "files=t*_*.csv", "targets=splits.txt", "id=run", "split=use"]
    steps(folder, recordings, options, changes)


def intents(data, folder):
    """Questions of BANKING77 joined by ones, twos and threes, and which of 77 intents each holds."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    from joined_intents import main as join

    join(data / "banking77", folder / "set")
    changes = {"training": {"epochs": 15, "early_stopping_patience": 4}, "select": {"refit": False}}
    options = ["text=text", "label=intents", "labels_separator=pipe"]
    candidates = dict.fromkeys(("dense", "linear", "majority"))
    source = ("text_table", folder / "set", options)
    repro(folder / "project", source, candidates, changes, "mean_average_precision")
    one_against_rest(folder / "project")


def one_against_rest(folder):
    """Print what scikit-learn's logistic regressions on TF-IDF have, a threshold per label from the same val."""
    samples, split = rows_of(folder)
    payload = np.load(folder / "data/interim/payload.npy").tobytes()
    places = zip(samples.start, samples.length, strict=True)
    texts = np.array([payload[start : start + length].decode() for start, length in places], object)
    truth = MultiLabelBinarizer().fit_transform(samples.label.map(json.loads))
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True)
    model = make_pipeline(make_union(words, letters), OneVsRestClassifier(LogisticRegression(C=10)))
    model.fit(texts[split == "train"], truth[split == "train"])
    val, test = (model.predict_proba(texts[split == part]) for part in ("val", "test"))
    cuts = np.unique(np.quantile(val, np.linspace(0.5, 0.999, 100)))
    pairs = zip(truth[split == "val"].T, val.T, strict=True)
    found = [[f1_score(yes, scores > cut) for cut in cuts] for yes, scores in pairs]
    said, actual = test > cuts[np.argmax(found, axis=1)], truth[split == "test"]
    precision = average_precision_score(actual, test)
    macro, micro = (f1_score(actual, said, average=way) for way in ("macro", "micro"))
    words = f"mean average precision {precision:.4f}, macro F1 {macro:.4f}, micro F1 {micro:.4f}"
    print(f"{folder.name}: scikit-learn, one against the rest: {words}")


QUESTIONS = {
    question.__name__: question for question in (clothing, discs, slant, bits, intents, rooms, activities)
}

if __name__ == "__main__":
    if len(sys.argv) != 4 or sys.argv[1] not in QUESTIONS:
        sys.exit(__doc__)
    place = Path(sys.argv[3]).resolve()
    place.mkdir(parents=True)
    QUESTIONS[sys.argv[1]](Path(sys.argv[2]).resolve(), place)
