"""The file tree of README.md, made from the first docstring line of each file.

Run `python -m tests.readme_tree` after adding a file.
"""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOP = {
    "dvc.yaml": "what runs, in which order, and what depends on what",
    "params.yaml": "every knob, explained",
    "Makefile": "set-up and commands; `make run`, `make test`, `make check`, `make ui`",
    "requirements.lock": "every package with its hashes",
    "examples/": "one whole params file per worked example, and quick variants",
    "data/source.json": "what the data is: kind, place, sha256, size",
    "reports/": "what the stages say: small JSON in git, pictures and pages beside it",
    "docs/": "decisions, guides, and a log of what was tried",
    "benchmarks/": "speed and memory as ratios",
    "tests/": "mirrors pipeline/; tests/e2e runs the whole in clones",
}


def first_line(path):
    """Return the first docstring line of a Python file, without its full stop."""
    docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
    line = docstring.splitlines()[0].rstrip(".") if docstring else ""
    return line.removeprefix(f"Stage `{path.stem}`: ")


def tree():
    """Return the tree as lines: path, and what is in it."""
    lines = [f"{name:<36} {text}" for name, text in TOP.items()]
    for path in sorted((ROOT / "pipeline").rglob("*.py"), key=lambda path: (str(path.parent), path.name)):
        if path.name != "__init__.py":
            lines.append(f"{path.relative_to(ROOT).as_posix():<36} {first_line(path)}")
    return lines


def main():
    """Replace the tree in README.md."""
    readme = ROOT / "README.md"
    before, _, rest = readme.read_text().partition("## The files\n\n```\n")
    _, _, after = rest.partition("\n```\n")
    readme.write_text(f"{before}## The files\n\n```\n" + "\n".join(tree()) + f"\n```\n{after}")


if __name__ == "__main__":
    main()
