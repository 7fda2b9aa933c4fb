"""After a power cut the file is there: synced before its rename, its folder after it; lines synced as they are added."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.faults.durability import not_durable
from tests.faults.injection import strace_problem
from tests.faults.writers import WRITERS

PROBLEM = strace_problem()
# Databases sync as SQLite decides; incoming files of an archive are synced where they are renamed.
PLAIN = [name for name, writer in WRITERS.items() if not writer.dear]
TRACED = """
import os, sys
from pathlib import Path
from tests.faults.injection import run
from tests.faults.writers import WRITERS
writer = WRITERS[sys.argv[1]]
os.chdir("project")
writer.prepare()
writer.write(0)
ending = run(writer.write, 1, 2, None, Path("../trace"))
assert ending.how == "finished", ending
"""


@pytest.mark.skipif(bool(PROBLEM), reason=PROBLEM)
@pytest.mark.parametrize("writer", PLAIN)
def test_power_cut_after_the_write_takes_nothing_away(tmp_path, writer):
    """The kernel is asked to put every byte and every new name on the disk, in the order that makes it safe."""
    (tmp_path / "project").mkdir()
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", TRACED, writer], cwd=tmp_path, env=environment, check=True)
    lines = (tmp_path / "trace").read_text().splitlines()
    assert any("fsync(" in line for line in lines)
    assert [] == not_durable(lines, (tmp_path / "project").resolve())


@pytest.mark.parametrize(
    ("lines", "problems"),
    [
        (['1 write(3</p/.a.1>, "x", 1) = 1', '1 rename("/p/.a.1", "/p/a") = 0', "1 fsync(3</p>) = 0"], ["a was renamed"]),
        (['1 write(3</p/a>, "x", 1) = 1'], ["a was never"]),
        (['1 rename("/p/.a.1", "a") = 0'], [". was never"]),
        (['1 write(3</p/.a>, "", 1) = 1', "1 fsync(3</p/.a>) = 0", '1 rename(".a", "a") = 0', "1 fsync(3</p>) = 0"], []),
    ],
)  # fmt: skip
def test_missing_sync_is_seen_in_a_trace(lines, problems):
    """The reading of traces can fail."""
    found = not_durable(lines, Path("/p"))
    assert [True] * len(problems) == [
        text.startswith(start) for text, start in zip(found, problems, strict=True)
    ]


def test_half_made_store_of_a_killed_process_is_removed(tmp_path):
    """The database that a first start was killed over, and its journal, do not stay beside the new one for ever."""
    from pipeline.tracking.store import create_sqlite

    for name in (".mlflow.db.999999999.new", ".mlflow.db.999999999.new-journal"):
        (tmp_path / name).write_bytes(b"half")
    create_sqlite(tmp_path / "mlflow.db")
    assert ["mlflow.db"] == [path.name for path in tmp_path.iterdir()]
