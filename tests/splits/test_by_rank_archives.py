"""Archive sets as people bring them pass `split` at the first try, with the shares that `init` asks for."""

import io
import tarfile

import pytest
from rich.console import Console

from pipeline.checks.fitting import base_example, fitted
from pipeline.duplicates.series import find_series_duplicates
from pipeline.fetching.snapshot import take_snapshot
from pipeline.fetching.source import Location, stored_tar
from pipeline.params.load import load_params
from pipeline.sources.kinds import options_of, source_of
from pipeline.splits.assignment import assign_by_units, assignment_problems
from pipeline.splits.by_rank import bounds
from tests.conftest import ROOT

SETS = [
    *(f"ucr-a/{name}" for name in ("DodgerLoopDay", "ECG200", "GunPoint", "ItalyPowerDemand", "MelbournePedestrian", "PLAID", "SwedishLeaf")),
    "uea-a/BasicMotions",
    "uea-a/JapaneseVowels",
    "uea-a/JapaneseVowels_eq",
]  # fmt: skip


@pytest.mark.parametrize("name", SETS)
def test_an_archive_set_is_split_at_the_first_try(benchmarks, name, tmp_path, monkeypatch):
    """No class is missing anywhere, and each gives val its share within a tenth or one series."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    own = name.rsplit("/", 1)[1]
    folder = benchmarks / name.removesuffix("_eq")
    options = {"name": own} if "Japanese" in own else {}
    quiet = Console(file=io.StringIO())
    place = Location(path=str(folder))
    source = take_snapshot(
        "series_archive", place, max_bytes=2**26, options=options, console=quiet, keep=True
    ).source
    example = base_example(source)
    text = (ROOT / f"examples/{example}.yaml").read_text()
    (tmp_path / "params.yaml").write_text(fitted(example, text, source, tmp_path).text)
    params = load_params()
    with tarfile.open(stored_tar(source.sha256), "r:") as archive:
        read = list(source_of(source.kind).read(archive, options_of(source.kind, source.options)))
    found = find_series_duplicates(
        [sample.sample_id for sample in read],
        [sample.series for sample in read],
        params.validate.near_series_distance,
    )
    samples = {
        "cluster": found.cluster.tolist(),
        "group": [""] * len(read),
        "given_split": [sample.split for sample in read],
        "label": [sample.label for sample in read],
        "target": [float("nan")] * len(read),
    }
    split = params.split
    assert "given" == split.method
    assigned = assign_by_units(
        split.method, samples, val_share=split.val_share, test_share=split.test_share, salt=split.salt
    )
    assert [] == assignment_problems(split.method, samples, assigned, salt=split.salt, task="classification")
    for label in set(samples["label"]):
        here = [row for row, own in enumerate(samples["label"]) if own == label and assigned.is_drawn[row]]
        units = {samples["cluster"][row]: assigned.splits[row] for row in here}
        least, most = bounds(len(units), split.val_share)
        assert least <= list(units.values()).count("val") <= most
