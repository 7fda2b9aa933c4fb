"""`millrace predict`: answers for records of your own, by the champion, a version, or a folder like models/best."""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.params.load import load_params
from pipeline.runtime.errors import DataRefused, WronglyCalled, say
from pipeline.serving.model_folder import absolute_path, named_model, opened, source_of

if TYPE_CHECKING:
    from pipeline.monitoring.labels import Labels
    from pipeline.serving.answer_files import Refusals
    from pipeline.serving.record_files import Given
    from pipeline.serving.scorer import Scorer

HELP = "answers for your own records, by the champion, another version or a folder like models/best"
RECORDED = False
CHUNK = 512
"""Records that are in memory together, at most."""
CHUNK_BYTES = 1 << 26
"""And of images so many packed bytes, but for the last of them."""
SECONDS_BETWEEN_LINES = 60.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    text = (
        "MODEL, MODEL/VERSION or MODEL@ALIAS, a folder like models/best or a bundle "
        "(default: this project's champion)"
    )
    parser.add_argument("model", nargs="?", default="", metavar="MODEL", type=named_model, help=text)
    text = (
        "a table (.csv, .tsv, .jsonl, .json, .parquet), a folder of images, one image, or a .ts or .arff file"
    )
    parser.add_argument("input", metavar="INPUT", type=absolute_path, help=text)
    text = "file for the answers: .csv, .jsonl or .parquet (default: JSON lines, rounded on a terminal)"
    parser.add_argument("--out", type=absolute_path, metavar="FILE", help=text)
    text = "column of a table that names its rows (default: their number, counted from 0)"
    parser.add_argument("--id", default="", metavar="COLUMN", help=text)
    text = "records that may be refused before the command ends with 65 (default: 0); the others are answered anyway"
    parser.add_argument("--max-refused", type=_count, default=0, metavar="N", help=text)
    text = "table of labels, joined by --id (or the column id): score the answers at once, as `millrace watch` does"
    parser.add_argument("--labels", type=absolute_path, metavar="FILE", help=text)
    text = "its column of labels (default: label); of several targets or steps once for each"
    parser.add_argument("--label", action="append", default=[], metavar="COLUMN", help=text)
    text = "also say what the first N answers rest on, in OUT.explained.jsonl and .html: a part is taken away at a time"
    parser.add_argument("--explain", type=_count, default=0, metavar="N", help=text)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"expected a whole number, 0 or more; received {text!r}")
    return int(text)


def needs_project(options: argparse.Namespace) -> bool:
    """Return whether the command has to stand in a project: where the model is a name, which its registry knows."""
    return not isinstance(options.model, Path)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from pipeline.serving.answer_files import require_place

    if options.label and options.labels is None:
        raise WronglyCalled(
            f"--label says which column of a table holds labels. Expected --labels FILE beside it. Received: --label "
            f"{options.label[0]} alone. Name the file; INPUT may be one."
        )
    if options.out is not None:
        require_place(options.out, options.input, options.labels)
    elif options.explain:
        raise WronglyCalled(
            f"Explanations lie beside the answers. Expected --out FILE. Received: --explain {options.explain} without "
            "it. Name a file for the answers."
        )
    if isinstance(options.model, Path):
        with opened(options.model) as model:
            _answer(model.called, model.folder, options)
    else:
        _answer(*_fetched(options.model), options)


def _answer(called: str, folder: Path, options: argparse.Namespace) -> None:
    if options.out is not None and options.out.parent.resolve() == folder.resolve():
        raise WronglyCalled(
            f"The answers would lie among the files of the model. Expected another folder than {folder}. Received: "
            f"--out {options.out}. Name a file elsewhere."
        )
    predict(
        folder,
        options.input,
        options.out,
        source=source_of(folder),
        id_column=options.id,
        max_refused=options.max_refused,
        explain=options.explain,
        called=called,
        labels=_labels(options, folder),
    )


def _fetched(named: str) -> tuple[str, Path]:
    from pipeline.versions.fetched import fetched_model

    called, folder = fetched_model(Path.cwd(), named, load_params().register.model_name)
    say(called, file=sys.stderr)
    return called, folder


def predict(
    folder: Path,
    given: Path,
    out: Path | None,
    *,
    source: Mapping[str, Any],
    id_column: str = "",
    max_refused: int = 0,
    explain: int = 0,
    called: str = "",
    labels: "Labels | None" = None,
) -> tuple[int, int]:
    """Answer the records of a file or folder, some at a time, and return how many were answered and refused.

    Args:
        folder: The model, like models/best.
        given: The records.
        out: Where answers go, and beside it (`.refused.jsonl`) what was refused; None for standard output. A call
            that was killed is gone on with, to the same bytes.
        source: Content of the source.json of the model's data; {} where nobody knows.
        id_column: Column that names rows.
        max_refused: How many records may be refused.
        explain: Of how many answers it is said what they rest on, beside `out`.
        called: The model, where that is said; "" for the name of its folder.
        labels: What is true of records, by id: the answers are scored, beside `out` and on standard error.

    Raises:
        DataRefused: More were, or the file cannot be read to its end; what could be answered stands in `out`.
    """
    from pipeline.engine.chosen import chosen_engine
    from pipeline.engine.local import Local
    from pipeline.monitoring.rows import said_in_row
    from pipeline.serving.answer_files import Parts, answer_file, refusal_file, remove_said_of
    from pipeline.serving.elsewhere import answered_elsewhere, answered_here
    from pipeline.serving.explain import Explanations
    from pipeline.serving.record_files import read_records
    from pipeline.serving.scorer import Scorer

    engine = chosen_engine()

    scorer = Scorer(folder)
    parts = Parts(out, folder) if out is not None else None
    explanations = Explanations(scorer, explain, called or folder.name)

    reading = _Reading(read_records(given, scorer.state, source, id_column))
    lots = reading.chunks()
    if isinstance(engine, Local):
        answering = answered_here(scorer, lots, parts)
    else:
        answering = answered_elsewhere(engine, folder, lots, parts)
    answered = 0
    with answer_file(out) as writer, refusal_file(out) as refused, _bar(beside=out is not None) as bar:
        for some, lines in answering:
            rows = [line for line in lines if "problems" not in line]
            refused.write([line for line in lines if "problems" in line])
            if rows:
                writer.write(rows)
            explanations.add(some, lines)
            if labels is not None:
                for line in rows:
                    labels.note(line["id"], said_in_row(line, scorer.task)[labels.column])
            answered += len(rows)
            bar(answered + refused.count)
        if reading.failed is not None and not answered:
            if parts:
                parts.remove()
            _tell(refused)
            raise reading.failed
    if parts:
        if parts.found:
            say(
                f"predict: {parts.found:,} records were answered by an earlier call that did not end",
                file=sys.stderr,
            )
        parts.remove()
    if out is not None:
        remove_said_of(out)
        explanations.write(out)
    _tell(refused)
    where = f" to {out}" if out else ""
    say(f"predict: answered {answered:,} records{where}, refused {refused.count:,}", file=sys.stderr)
    if labels is not None:
        _score(labels, scorer, called or folder.name, folder, out)
    if reading.failed is not None:
        raise reading.failed
    if refused.count > max_refused:
        raise DataRefused(
            f"{refused.count:,} of {answered + refused.count:,} records were refused. Expected at most {max_refused} "
            f"(--max-refused). Received: {refused.first[0]['place']}: {' '.join(refused.first[0]['problems'])} The "
            "others are answered. Mend the records, or allow so many."
        )
    return answered, refused.count


def _labels(options: argparse.Namespace, folder: Path) -> "Labels | None":
    if options.labels is None:
        return None
    from pipeline.inputs.specs import output_spec
    from pipeline.monitoring.labels import read_labels
    from pipeline.runtime.files import read_json

    spec = output_spec(read_json(folder / "state.json"))
    return read_labels(options.labels, options.id or "id", options.label, spec)


def _score(labels: "Labels", scorer: "Scorer", called: str, folder: Path, out: Path | None) -> None:
    """Say what the answers are worth by labels, beside the scores on the test set; with `out` also in a file."""
    from pipeline.monitoring.found import label_lines
    from pipeline.monitoring.reference import reference_in
    from pipeline.monitoring.rows import Answering
    from pipeline.monitoring.watch import judged_by, measured_by
    from pipeline.runtime.files import write_json
    from pipeline.runtime.paths import REFERENCE
    from pipeline.serving.answer_files import scores

    if not labels.joined:
        raise DataRefused(
            f"No label belongs to a record that was answered. Expected the same ids in both. Received: "
            f"{', '.join(list(labels.truth)[:3]) or 'no label'}. Name the column of ids by --id."
        )
    paper = Answering(called, "", "", scorer.state, scorer.card, reference_in(folder / REFERENCE) or {})
    content, _fallen = judged_by(labels, paper, *measured_by(paper))
    for line in label_lines(content):
        say(line, file=sys.stderr)
    if out is not None:
        write_json(scores(out), content)


@contextmanager
def _bar(*, beside: bool) -> Iterator[Callable[[int], None]]:
    """Give a function that shows how many records are done: on a terminal as they go, else now and then a line.

    Args:
        beside: Whether answers go to a file; a line that moves would mix with those on the terminal.
    """
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from pipeline.runtime.processes import terminal

    console = terminal(errors=True)
    told = time.monotonic()
    columns = (SpinnerColumn(), TextColumn("predict: {task.completed:,.0f} records"), TimeElapsedColumn())
    moves = console.is_terminal and (beside or not sys.stdout.isatty())
    with Progress(*columns, console=console, transient=True, disable=not moves) as bars:
        task = bars.add_task("", total=None)

        def done(records: int) -> None:
            nonlocal told
            bars.update(task, completed=records)
            if not console.is_terminal and time.monotonic() - told > SECONDS_BETWEEN_LINES:
                told = time.monotonic()
                say(f"predict: {records:,} records", file=sys.stderr)

        yield done


class _Reading:
    """Records some at a time; that the file cannot be read to its end waits until what was read is answered.

    Attributes:
        failed: Why not, after the last chunk; else None.
    """

    def __init__(self, records: Iterator["Given"]) -> None:
        self._records = records
        self.failed: DataRefused | None = None

    def chunks(self) -> Iterator[list["Given"]]:
        """Yield records, at most `CHUNK` at a time and about `CHUNK_BYTES`."""
        held: list[Given] = []
        held_bytes = 0
        try:
            for record in self._records:
                held.append(record)
                held_bytes += len(record.record.get("image", b""))
                if len(held) == CHUNK or held_bytes >= CHUNK_BYTES:
                    yield held
                    held, held_bytes = [], 0
        except DataRefused as error:
            self.failed = error
        if held:
            yield held


def _tell(refused: "Refusals") -> None:
    """Say on standard error which records were refused, the first of them."""
    for item in refused.first:
        say(f"Refused: {item['place']}: {' '.join(item['problems'])}", file=sys.stderr)
    if refused.count > len(refused.first):
        say(f"... and {refused.count - len(refused.first):,} more", file=sys.stderr)
