"""The table of docs/guides/wrong-passes.md, made from the docstrings of the tests in this folder.

Run `python -m tests.wrong_pass.table` after adding a case.
"""

import ast
from pathlib import Path

HERE = Path(__file__).resolve().parent
GUIDE = HERE.parents[1] / "docs/guides/wrong-passes.md"
HEAD = """# What the stack passes, and Millrace does not

Each row is a test in `tests/wrong_pass`: it first lets the plain stack pass what is broken, as measured with the
versions of requirements.lock, and then shows that Millrace refuses it. `pytest tests/wrong_pass` runs them all.

| case | the plain stack | Millrace | test |
|---|---|---|---|
"""


def cases():
    """Return (case, plain stack, Millrace, file::test) of every test here."""
    found = []
    for path in sorted(HERE.glob("test_*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                found.append((*_parts(ast.get_docstring(node) or ""), f"{path.name}::{node.name}"))
    return found


def _parts(docstring):
    """Return the first line, and what follows `Plain:` and `Millrace:`."""
    head, _, rest = docstring.partition("Plain:")
    plain, _, millrace = rest.partition("Millrace:")
    return tuple(" ".join(part.split()).removesuffix(".") for part in (head, plain, millrace))


def guide():
    """Return the whole text of the guide."""
    rows = [f"| {case} | {plain} | {millrace} | `{test}` |" for case, plain, millrace, test in cases()]
    return HEAD + "\n".join(rows) + "\n"


if __name__ == "__main__":
    GUIDE.write_text(guide())
