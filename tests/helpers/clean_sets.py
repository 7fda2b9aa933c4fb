"""Clean data of every kind: small sets made here, and real ones as people bring them.

Each function writes one set into the working directory and returns how it is split and put through the gate.
"""

import csv
import io
import zipfile

import numpy as np

from pipeline.duplicates.series import find_series_duplicates
from pipeline.duplicates.texts import find_text_duplicates
from pipeline.leaks.findings import WindowColumns
from tests.helpers.leak_gate import GATE, days, two_classes, word_of
from tests.helpers.split_data import content_of, numbered_texts, write_data


def text_clusters(texts):
    """Return the clusters of copies, as `validate` finds them."""
    contents = [content_of(text) for text in texts]
    return find_text_duplicates(contents, texts, GATE["near_text_similarity"]).cluster.tolist()


def series_clusters(series):
    """Return the clusters of copies, as `validate` finds them."""
    contents = [content_of(values) for values in series]
    return find_series_duplicates(contents, series, GATE["near_series_distance"]).cluster.tolist()


def talkative_texts():
    """Two classes that prefer some words, with copies, and a side column that helps but does not know."""
    rng = np.random.default_rng(0)
    labels = two_classes(500)
    texts = []
    for label in labels:
        words = rng.integers(0, 300, 12) + (150 if label == "hat" else 0)
        texts.append(" ".join(word_of(word) for word in words))
    texts[400:450] = texts[:50]
    labels[400:450] = labels[:50]
    price = [rng.normal(1.5 if label == "hat" else 0.0) for label in labels]
    write_data(texts, labels=labels, clusters=text_clusters(texts), side={"price": price})
    return {}


def digit_images():
    """The handwritten digits of scikit-learn, all classes."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    write_data(list(digits.images.astype(np.uint8)[..., None]), labels=digits.target.astype(str).tolist())
    return {}


def recordings_by_person():
    """Forty persons, ten recordings each; persons differ, and their age is a side column."""
    rng = np.random.default_rng(0)
    series, labels, persons, ages = [], [], [], []
    for person in range(40):
        offset, age = rng.normal(), float(rng.integers(20, 80))
        for _ in range(10):
            label = rng.choice(["walk", "run"])
            speed = 0.3 if label == "walk" else 0.6
            steps = np.arange(rng.integers(30, 60))
            values = np.sin(speed * steps + rng.normal()) + offset + rng.normal(0, 0.5, len(steps))
            series.append(values[:, None].astype(np.float32))
            labels.append(str(label))
            persons.append(f"person {person}")
            ages.append(age)
    write_data(series, labels=labels, groups=persons, side={"age": ages})
    return {"method": "group"}


def prices_of_texts():
    """Regression: two side columns explain most of the target, none all of it; ids are random."""
    rng = np.random.default_rng(0)
    size, rooms = rng.normal(100, 30, 600), rng.integers(1, 6, 600) * 1.0
    targets = 3 * size + 20 * rooms + rng.normal(0, 20, 600)
    side = {
        "size": size.tolist(),
        "rooms": rooms.tolist(),
        "agent": rng.choice(["x", "y", "z"], 600).tolist(),
        "number": [f"{number:08x}" for number in rng.permutation(600)],
    }
    write_data(numbered_texts(600), targets=targets.tolist(), side=side)
    return {"task": "regression"}


def drifting_texts():
    """By time: later samples are more often of one class and longer, as the world goes."""
    rng = np.random.default_rng(0)
    labels = np.where(rng.random(500) < np.linspace(0.2, 0.8, 500), "hat", "shoe").tolist()
    texts = [f"{text} {'and more ' * (place // 50)}" for place, text in enumerate(numbered_texts(500))]
    write_data(texts, labels=labels, times=days(500), clusters=text_clusters(texts))
    return {"method": "time"}


def shops():
    """Forecasting over ten shops on the same hours; a known price moves sales, the weather is only read."""
    rng = np.random.default_rng(0)
    series = []
    for shop in range(10):
        hours = np.arange(800)
        price, weather = rng.choice([1.0, 2.0, 3.0], 800), rng.normal(size=800).cumsum() / 5
        sales = 50 + shop + 10 * np.sin(hours / 24 * 2 * np.pi) - 8 * price + weather + rng.normal(0, 2, 800)
        series.append(np.stack([sales, price, weather], axis=1).astype(np.float32))
    write_data(
        series,
        times=["2020-01-01T00:00:00"] * 10,
        step_seconds=3600.0,
        channels=("sales", "price", "weather"),
    )
    return {"method": "time", "task": "forecasting", "windows": WindowColumns(48, 12, ("sales",), ("price",))}


def machines():
    """Anomalies: machines recorded in different years, each cut by itself."""
    rng = np.random.default_rng(0)
    series = [rng.normal(size=(600, 1)).cumsum(axis=0).astype(np.float32) for _ in range(5)]
    write_data(series, times=[f"{2015 + year}-03-01" for year in range(5)], step_seconds=300.0)
    return {"method": "time", "task": "anomaly", "windows": WindowColumns(24, 0)}


def sms_spam(folder):
    """5,574 short messages with 403 exact copies."""
    lines = (folder / "sms-spam/SMSSpamCollection").read_bytes().decode().removesuffix("\n").split("\n")
    rows = [line.split("\t") for line in lines]
    texts = [text for _, text in rows]
    write_data(texts, labels=[label for label, _ in rows], clusters=text_clusters(texts))
    return {}


def banking77(folder):
    """13,083 questions of 77 kinds on the given split: train is unbalanced, test is balanced."""
    rows, given = [], []
    for name in ("train", "test"):
        with (folder / f"banking77/{name}.csv").open(newline="", encoding="utf-8") as file:
            own = list(csv.DictReader(file))
        rows += own
        given += [name] * len(own)
    texts = [row["text"] for row in rows]
    write_data(texts, labels=[row["category"] for row in rows], given=given, clusters=text_clusters(texts))
    return {"method": "given"}


def ecg200(folder):
    """200 heartbeats on the archive's split."""
    return _archive(folder / "ucr-a/ECG200", "ECG200_{}.txt", " ")


def swedish_leaf(folder):
    """1,125 outlines of leaves of 15 trees on the archive's split."""
    return _archive(folder / "ucr-a/SwedishLeaf", "SwedishLeaf_{}.tsv", "\t")


def _archive(folder, pattern, separator):
    series, labels, given = [], [], []
    for name in ("train", "test"):
        for line in (folder / pattern.format(name.upper())).read_text().splitlines():
            label, *values = line.split(separator if separator == "\t" else None)
            series.append(np.array(values, np.float32)[:, None])
            labels.append(f"{float(label):g}")
            given.append(name)
    write_data(series, labels=labels, given=given, clusters=series_clusters(series))
    return {"method": "given", "val_share": 0.3}


def indoor_movement(folder, **side):
    """314 walks in three rooms, split by room."""
    with zipfile.ZipFile(folder / "indoor-movement/IndoorMovement.zip") as archive:

        def table(name):
            rows = csv.reader(io.StringIO(archive.read(name).decode()))
            next(rows)
            return [[float(value) for value in row] for row in rows]

        labels = [f"{int(label)}" for _, label in table("dataset/MovementAAL_target.csv")]
        rooms = [f"{int(room)}" for _, room in table("groups/MovementAAL_DatasetGroup.csv")]
        paths_walked = [f"{int(path)}" for _, path in table("groups/MovementAAL_Paths.csv")]
        series = [
            np.array(table(f"dataset/MovementAAL_RSS_{number}.csv"), np.float32)
            for number in range(1, len(labels) + 1)
        ]
    write_data(
        series,
        labels=labels,
        groups=rooms,
        channels=("a", "b", "c", "d"),
        clusters=series_clusters(series),
        side={"path": paths_walked} if side.get("with_path") else None,
    )
    return {"method": "group", "val_share": 0.3, "test_share": 0.34, "salt": "rooms-2-1"}


def bike_sharing(folder, known=("yr", "temp", "atemp", "hum", "windspeed", "holiday", "workingday")):
    """Bikes per hour from weather and calendar; 165 missing hours are steps without values."""
    columns = [
        "casual",
        "registered",
        "cnt",
        "season",
        "weathersit",
        "yr",
        "temp",
        "atemp",
        "hum",
        "windspeed",
    ]
    columns += ["holiday", "workingday"]
    with (folder / "bike-sharing/hour.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    hours = np.array([np.datetime64(f"{row['dteday']}T{int(row['hr']):02d}") for row in rows])
    places = (hours - hours[0]).astype(int)
    series = np.full((places[-1] + 1, len(columns)), np.nan, np.float32)
    series[places] = [[float(row[name]) for name in columns] for row in rows]
    used = [name for name in columns if name not in ("casual", "registered") or name in known]
    write_data(
        [series[:, [columns.index(name) for name in used]]],
        times=[str(hours[0])],
        step_seconds=3600.0,
        channels=tuple(used),
    )
    windows = WindowColumns(0, 1, ("cnt",), tuple(known), ("season", "weathersit"))
    dates = {"val_start": "2012-08-01", "test_start": "2012-10-01"}
    return {"method": "time", "task": "regression", "windows": windows, **dates}


def etth1(folder):
    """Seven loads and temperatures of a transformer, hour by hour; 96 hours ahead of all of them."""
    with (folder / "etth1/ETTh1.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    channels = tuple(rows[0][1:])
    series = np.array([row[1:] for row in rows[1:]], np.float32)
    write_data([series], times=["2016-07-01T00:00:00"], step_seconds=3600.0, channels=channels)
    return {"method": "time", "task": "forecasting", "windows": WindowColumns(336, 96, channels)}


def nab(folder):
    """Twelve recordings of machines and services, each cut by itself."""
    series, times = [], []
    for path in sorted((folder / "nab-a/data").glob("*/*.csv")):
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        series.append(np.array([float(row["value"]) for row in rows], np.float32)[:, None])
        times.append(rows[0]["timestamp"])
    write_data(
        series, times=times, step_seconds=300.0, clusters=[f"c{number}" for number in range(len(series))]
    )
    return {
        "method": "time",
        "task": "anomaly",
        "windows": WindowColumns(48, 0),
        "val_share": 0.05,
        "test_share": 0.85,
    }


SMALL = (
    talkative_texts,
    digit_images,
    recordings_by_person,
    prices_of_texts,
    drifting_texts,
    shops,
    machines,
)
REAL = (sms_spam, banking77, ecg200, swedish_leaf, indoor_movement, bike_sharing, etth1, nab)
