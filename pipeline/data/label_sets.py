"""Several labels of one sample: as one cell of a table, as names, and as a row of zeros and ones.

The column `label` of `data/interim/samples.parquet` and `data/split/split.parquet` holds them as a JSON list, sorted:
`["billing", "login"]`, `[]` where none applies. What compares cells (conflicts, digests, what changed since) needs to
know no more than that; what counts labels comes here.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np


def as_cell(labels: Iterable[str]) -> str:
    """Return labels as the one text that stands for their set."""
    return json.dumps(sorted(set(labels)), ensure_ascii=False)


def labels_in(cell: str) -> list[str]:
    """Return the labels of a cell as `as_cell` wrote it, sorted.

    Raises:
        ValueError: It is no such cell.
    """
    try:
        labels = json.loads(cell)
    except ValueError:
        labels = None
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise ValueError(
            f"A cell holds no set of labels. Expected a JSON list of names. Received: {cell!r}. "
            "Run `dvc repro ingest`."
        )
    return labels


def label_counts(cells: Iterable[str]) -> Counter[str]:
    """Return in how many of some cells each label stands."""
    counts: Counter[str] = Counter()
    for cell, number in Counter(cells).items():
        counts.update(dict.fromkeys(labels_in(cell), number))
    return counts


def label_matrix(cells: Sequence[str], classes: Sequence[str]) -> np.ndarray:
    """Return which labels each cell has, uint8 0 or 1, shape (num_cells, num_classes).

    Args:
        cells: As `as_cell` writes them.
        classes: All labels, in the order of the columns.

    Raises:
        ValueError: A label is not among the classes.
    """
    order = {name: index for index, name in enumerate(classes)}
    matrix = np.zeros((len(cells), len(classes)), np.uint8)
    for row, cell in enumerate(cells):
        labels = labels_in(cell)
        unknown = [label for label in labels if label not in order]
        if unknown:
            raise ValueError(
                f"The rows have labels without training samples. Expected some of {list(classes)}. "
                f"Received: {unknown}. Run `dvc repro features`."
            )
        matrix[row, [order[label] for label in labels]] = 1
    return matrix
