"""Runs examples/notebook.ipynb anew, in a project that has a champion, and writes what it answers into it.

`python -m docs.notebook` in the folder of a finished project. A notebook is JSON and its cells are Python, so no kernel
is needed: Jupyter's would bring some thirty packages into the lock, for nine lines.
"""

import ast
import json
import sys
from collections.abc import Mapping
from contextlib import chdir
from pathlib import Path
from typing import Any

NOTEBOOK = Path("examples/notebook.ipynb")


def executed(notebook: Mapping[str, Any]) -> dict[str, Any]:
    """Return a notebook with the outputs that its cells have now, all run in one namespace, from top to bottom.

    Args:
        notebook: Content of an .ipynb file.
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    cells, count = [], 0
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            count += 1
            cell = {**cell, "execution_count": count, "outputs": _outputs(cell, names, count)}  # noqa: PLW2901
        cells.append(cell)
    return {**notebook, "cells": cells}


def _outputs(cell: Mapping[str, Any], names: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """Run one cell; as in Jupyter its output is the value of the last line, where that is an expression."""
    tree = ast.parse("".join(cell["source"]))
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "<cell>", "exec"), names)  # noqa: S102  # the notebook is part of this repository
    value = eval(compile(ast.Expression(last.value), "<cell>", "eval"), names) if last else None  # noqa: S307
    if value is None:
        return []
    data = {"text/plain": repr(value).splitlines(keepends=True)}
    if hasattr(value, "_repr_html_"):
        data["text/html"] = value._repr_html_().splitlines(keepends=True)
    return [{"output_type": "execute_result", "execution_count": count, "data": data, "metadata": {}}]


def main() -> None:
    """Run the notebook of the working directory and write it back."""
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    with chdir(NOTEBOOK.parent):
        done = executed(notebook)
    NOTEBOOK.write_text(json.dumps(done, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    sys.stdout.write(f"{NOTEBOOK}\n")


if __name__ == "__main__":
    main()
