"""Files that people bring: cells, times, archives, texts, and how a value becomes a feature."""

from tests.mutants.mutant import Mutant

CELLS = "pipeline/formats/cells.py"
SIDE_CELLS = "pipeline/formats/side_cells.py"
WRITTEN = "pipeline/formats/written_numbers.py"
TIME_GRID = "pipeline/formats/time_grid.py"
TS = "pipeline/formats/ts.py"
TEXTS = "pipeline/preprocessing/texts.py"
BY_TIME = "pipeline/splits/by_time.py"
OF_CELLS = ("tests/formats/test_cells.py",)
OF_WRITTEN = ("tests/formats/test_written_numbers.py",)
OF_TIMES = ("tests/formats/test_time_grid.py",)
OF_ARCHIVES = ("tests/sources/test_series_archive.py",)
OF_TOKENS = ("tests/preprocessing/test_texts.py",)
OF_BAGS = ("tests/preprocessing/test_texts_bags.py",)
OF_SPLITS = ("tests/splits/test_by_time.py",)

MUTANTS = (
    Mutant(
        "numbers that float32 cannot hold",
        CELLS,
        "    return NUMBER.fullmatch(cell) is not None and abs(float(cell)) <= LARGEST\n",
        "    return NUMBER.fullmatch(cell) is not None\n",
        OF_CELLS,
    ),
    Mutant(
        "digits of other scripts",
        CELLS,
        'NUMBER = re.compile(r"[+-]?(\\d+\\.?\\d*|\\.\\d+)([eE][+-]?\\d+)?", re.ASCII)',
        'NUMBER = re.compile(r"[+-]?(\\d+\\.?\\d*|\\.\\d+)([eE][+-]?\\d+)?")',
        OF_CELLS,
    ),
    Mutant(
        "007, which is a name",
        CELLS,
        'PADDED = re.compile(r"[+-]?0[0-9]+")',
        'PADDED = re.compile(r"[+-]?0[0-9]+x")',
        OF_CELLS,
    ),
    Mutant(
        "true, which is no number",
        CELLS,
        "    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):",
        "    if not isinstance(value, (int, float, Decimal)):",
        OF_CELLS,
    ),
    Mutant(
        "a side column of words and numbers",
        SIDE_CELLS,
        "        if self._number and self._word and not self._padded:",
        "        if self._number and self._word and self._padded:",
        OF_WRITTEN,
    ),
    Mutant(
        "a side column of numbers as people write them",
        SIDE_CELLS,
        "        if self._words and not self._padded:\n            self._refuse_marks()\n",
        "",
        OF_WRITTEN,
    ),
    Mutant(
        "a plain number where commas begin fractions",
        WRITTEN,
        "        if found is None:\n            return None\n        digits",
        "        if found is None:\n            return cell\n        digits",
        OF_WRITTEN,
    ),
    Mutant(
        "numbers that stand for no value",
        CELLS,
        "        values[np.isin(values.astype(np.float32), nothing)] = np.nan\n",
        "",
        OF_WRITTEN,
    ),
    Mutant(
        "one cause for every column",
        "pipeline/formats/problems.py",
        "        self._take((file, column, expected), cause)",
        "        self._take((file, expected), cause)",
        ("tests/formats/test_problems.py",),
    ),
    Mutant(
        "the range of grey values in an array",
        "pipeline/sources/image_arrays.py",
        "USED = 1 / 8",
        "USED = 0.0",
        ("tests/sources/test_image_arrays.py",),
    ),
    Mutant(
        "blank rows between batches",
        CELLS,
        "            held.append(blank)\n",
        "            pass\n",
        ("tests/formats/test_cells.py", "tests/formats/test_delimited.py", "tests/formats/test_tables.py"),
    ),
    Mutant(
        "what Arrow takes for a number and we do not",
        CELLS,
        "(missing.to_numpy(zero_copy_only=False) | (np.abs(found) <= LARGEST)).all()",
        "(missing.to_numpy(zero_copy_only=False) | (np.abs(found) <= np.inf)).all()",
        OF_CELLS,
    ),
    Mutant(
        "times between two steps",
        TIME_GRID,
        "        rows.refuse(np.flatnonzero(positions % step), expected,",
        "        rows.refuse(np.flatnonzero(positions < 0), expected,",
        OF_TIMES,
    ),
    Mutant(
        "the nearest step of the grid",
        TIME_GRID,
        "        positions += step // 2\n",
        "        positions += step - 1\n",
        OF_TIMES,
    ),
    Mutant(
        "missing values in the mean of two rows",
        TIME_GRID,
        "    there = ~np.isnan(values)\n",
        "    there = np.ones(values.shape, bool)\n",
        OF_TIMES,
    ),
    Mutant(
        "steps that nobody measured",
        TIME_GRID,
        "    grid = np.full((steps, values.shape[1]), np.nan, dtype=np.float32)\n",
        "    grid = np.zeros((steps, values.shape[1]), dtype=np.float32)\n",
        OF_TIMES,
    ),
    Mutant(
        "rows that are out of order",
        TIME_GRID,
        "            if not ((ranked > before) | ((ranked == before) & (times >= earlier))).all():\n",
        "            if False:\n",
        (*OF_TIMES, "tests/sources/test_series_table.py"),
    ),
    Mutant(
        "classes that the header of an archive does not know",
        TS,
        "    if has_label and (not label or (header.labels and label not in header.labels)):",
        "    if has_label and not label:",
        OF_ARCHIVES,
    ),
    Mutant(
        "channels of one length",
        TS,
        "    if len(set(lengths)) != 1:",
        "    if not lengths:",
        OF_ARCHIVES,
    ),
    Mutant(
        "missing values that a header denies",
        TS,
        '    if not header.says("missing", otherwise=True) and bool(np.isnan(row.series).any()):',
        '    if header.says("missing") and bool(np.isinf(row.series).any()):',
        OF_ARCHIVES,
    ),
    Mutant(
        "one way of writing a letter",
        TEXTS,
        '    text = unicodedata.normalize("NFKC", text)\n',
        "",
        OF_TOKENS,
    ),
    Mutant(
        "ties of a vocabulary",
        TEXTS,
        "key=lambda item: (-item[1], item[0])",
        "key=lambda item: -item[1]",
        (*OF_TOKENS, *OF_BAGS),
    ),
    Mutant(
        "a text without any token",
        TEXTS,
        "                ids[row, 0] = UNKNOWN_ID\n",
        "                pass\n",
        OF_TOKENS,
    ),
    Mutant(
        "the length of a bag of weights",
        TEXTS,
        " or 1.0\n            ids[row, : len(heaviest)]",
        " * 0 + 1.0\n            ids[row, : len(heaviest)]",
        OF_BAGS,
    ),
    Mutant(
        "the heaviest terms of a text",
        TEXTS,
        "        return sorted(weighted)[: self.max_bag]\n",
        "        return sorted(weighted)[-self.max_bag :]\n",
        OF_BAGS,
    ),
    Mutant(
        "the embargo of a split by time",
        BY_TIME,
        "            assigned[(assigned == split) & (seconds >= last[0])] = EXCLUDED\n",
        "            pass\n",
        OF_SPLITS,
    ),
    Mutant(
        "the embargo between segments",
        BY_TIME,
        '            kept = stop if split == "test" else max(start, stop - boundaries.embargo)\n',
        "            kept = stop\n",
        OF_SPLITS,
    ),
    Mutant(
        "dates of a split that are in order",
        BY_TIME,
        "    if not starts[0] < starts[1] < starts[2]:",
        "    if starts[0] is None:",
        OF_SPLITS,
    ),
    Mutant(
        "the salt of a split",
        "pipeline/splits/by_hash.py",
        '    digest = hashlib.sha256(f"{salt}|{cluster}".encode()).digest()\n',
        '    digest = hashlib.sha256(f"{cluster}".encode()).digest()\n',
        ("tests/splits/test_by_hash.py",),
    ),
)
