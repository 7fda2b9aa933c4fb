"""Problems are told by cause: few each in its line, many with their number and the first lines."""

import pytest

from pipeline.formats.problems import LIMIT, Problems
from pipeline.runtime.errors import DataRefused


def message(problems):
    """What the user reads."""
    with pytest.raises(DataRefused) as caught:
        problems.check()
    return str(caught.value)


def test_twenty_of_121_cells_are_one_problem_and_others_are_told_beside_it():
    """In the order of the file, whatever came between."""
    problems = Problems()
    for line in range(2, 123):
        if line % 6 == 2:
            problems.add(f"a.csv, line {line}, column 'label'", "a name", "nothing", "Fill it in.")
        if line == 50:
            problems.add("a.csv, line 50, column 'age'", "a number", "'x'", "Correct it.")
    first, second = message(problems).split("\n")[1:3]
    assert first == (
        "  a.csv, line 2, column 'label': expected a name; received nothing, ...; so in 21 lines: 2, 8, 14, 20, 26, ..."
    )
    assert second == "  a.csv, line 50, column 'age': expected a number; received 'x'"
    assert message(problems).endswith("\n22 problems. Fill it in. Correct it.")


def test_up_to_three_places_are_told_each():
    """With what stands there."""
    problems = Problems()
    for line in (3, 4, 9):
        problems.add(f"a.csv, line {line}, column 'x'", "a number", f"'{line}x'", "Correct it.")
    assert message(problems).count("expected a number; received '") == 3


def test_files_columns_and_expectations_are_causes_of_their_own():
    """And what is handed over in parts is counted as if it had come at once."""
    problems = Problems()
    for part in range(10):
        held = Problems(limit=None)
        for file in ("a.csv", "b.csv"):
            for column in ("x", "y"):
                held.add(f"{file}, line {part + 2}, column {column!r}", "a number", "'z'", "Correct it.")
        held.pass_on(problems)
        assert held.count == 0
    lines = message(problems).split("\n")[1:-1]
    assert ["so in 10 lines: 2, 3, 4, 5, 6, ..."] * 4 == [line.split("; ")[-1] for line in lines]
    assert problems.count == 40


def test_reading_stops_at_twenty_causes():
    """A file with so many is read by the wrong rules."""
    problems = Problems()
    with pytest.raises(DataRefused, match="The first 20 problems, where reading stopped"):
        for column in range(LIMIT):
            problems.add(f"a.csv, line 2, column 'c{column}'", "a number", "'x'", "Correct it.")
