"""Answers for many records, some at a time: here in this process, or each lot as a job of an engine.

A lot is what is read together and kept together (`answer_files.Parts`). Lots come back in their order, whichever was
answered first, so that the file is the same; what was answered once is asked nowhere again.
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from pipeline.engine.stage import THERE
from pipeline.engine.work import Engine, Job
from pipeline.runtime.errors import ProgramFailed
from pipeline.serving.answer_files import Lines, Parts
from pipeline.serving.record_files import Given
from pipeline.serving.scorer import PAPERS, Refused, Scorer

IN_MEMORY = 8
"""Lots that are read before their answers are waited for."""
Lot = Sequence[Given]


def lines_of(scorer: Scorer, lot: Lot) -> Lines:
    """Return what became of some records: their answers, or what was wrong with them."""
    left = iter(scorer.answers([item.record for item in lot if not item.problems]))
    found = (Refused(item.problems) if item.problems else next(left) for item in lot)
    return [
        {"id": item.sample_id, "place": item.place, "problems": list(said.problems)}
        if isinstance(said, Refused)
        else {"id": item.sample_id, **said}
        for item, said in zip(lot, found, strict=True)
    ]


def answered_here(scorer: Scorer, lots: Iterable[Lot], parts: Parts | None) -> Iterator[tuple[Lot, Lines]]:
    """Yield each lot with what became of it.

    Args:
        scorer: The model.
        lots: Of records.
        parts: What was answered already; None: nothing is kept.
    """
    answer = functools.partial(lines_of, scorer)
    for lot in lots:
        yield lot, parts.of(lot, answer) if parts else answer(lot)


def answered_elsewhere(
    engine: Engine, folder: Path, lots: Iterable[Lot], parts: Parts | None
) -> Iterator[tuple[Lot, Lines]]:
    """Yield each lot with what became of it on an engine.

    Args:
        engine: A cluster.
        folder: The model.
        lots: Of records.
        parts: What was answered already; None: nothing is kept.

    Raises:
        ProgramFailed: Answering failed, and does so again; with the exit code that it had here.
        ServiceDown: The cluster is gone.
    """
    reading = iter(lots)
    with engine.workers(
        open_answers, num_workers=1, root=folder, needs=[Path(name) for name in PAPERS]
    ) as workers:
        while group := list(islice(reading, IN_MEMORY)):
            known = {place: parts.known(lot) if parts else None for place, lot in enumerate(group)}
            found = {place: lines for place, lines in known.items() if lines is not None}
            asked = [place for place in known if place not in found]
            jobs = [Job(f"{len(group[place]):,} records", group[place]) for place in asked]
            for which, ended in workers.run(jobs):
                if ended.error:
                    told = f"{jobs[which].name} were not answered: {ended.error}."
                    raise ProgramFailed(told, ended.exit_code, THERE)
                found[asked[which]] = ended.value
                if parts:
                    parts.keep(group[asked[which]], ended.value)
            yield from ((lot, found[place]) for place, lot in enumerate(group))


def open_answers() -> Callable[[Lot, Any], Lines]:
    """Open the model in the working directory, in a worker, and return what answers a lot."""
    scorer = Scorer(Path())
    return lambda lot, _folder: lines_of(scorer, lot)
