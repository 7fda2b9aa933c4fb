"""What `millrace init` learnt about the data against params.yaml, so that no run finds it out after minutes.

Each rule yields messages without the name of the file; a data/source.json without facts says nothing here.
"""

from collections.abc import Iterable, Iterator, Mapping

from pipeline.checks.rules import WITHOUT_COLUMNS
from pipeline.fetching.source import PARTS, Facts, Source
from pipeline.params.sections import WITH_CLASSES
from pipeline.params.values import Params

SHOWN = 12


def facts_fit(params: Params, source: Source) -> Iterator[str]:
    """Yield every contradiction between params.yaml and the facts of data/source.json."""
    facts = source.facts
    if facts is None:
        return
    for rule in (_unlabelled, _task, _classes, _split, _windows, _columns, _images):
        yield from rule(params, source, facts)


def _unlabelled(params: Params, source: Source, _facts: Facts) -> Iterator[str]:
    """Yield more samples without an answer than the ingest stage may reject."""
    most, there = params.data.max_rejected_share, source.count + source.unlabelled
    if source.options.get("unlabelled") == "reject" and source.unlabelled > most * there:
        yield (
            "data.max_rejected_share is exceeded by samples without an answer, which unlabelled=reject counts as "
            f"rejected. Expected at most {most:g} of {there:,}. Received: {source.unlabelled:,}. Leave them out, "
            "counted apart: `millrace init ... --set unlabelled=leave_out`, or raise data.max_rejected_share."
        )


def _task(params: Params, source: Source, facts: Facts) -> Iterator[str]:
    task = params.data.task
    has = (
        f"{source.count:,} samples of {facts.num_classes} classes, {facts.targets:,} with a number to predict"
    )
    if params.data.labelled_windows is not None:
        if len(facts.step_classes) == 1:
            yield (
                "data.labelled_windows needs two classes of steps. Received: only "
                f"{next(iter(facts.step_classes))!r}. Name another column: `millrace init ... --set step_label=COLUMN`."
            )
    elif task == "classification" and params.data.windows is None and facts.num_classes < 2:
        yield (
            f"data.task=classification needs two classes. Received: {has}. Set data.task: regression, or name the "
            f"column of classes: `millrace init --kind {source.kind} --set label=COLUMN ...`."
        )
    if task == "regression" and params.data.windows is None and not facts.targets:
        yield (
            f"data.task=regression needs a number for each sample. Received: {has}. Set data.task: classification, "
            f"or name the column: `millrace init --kind {source.kind} --set target=COLUMN ...`."
        )


def _classes(params: Params, _source: Source, facts: Facts) -> Iterator[str]:
    name = params.data.positive_class
    if params.data.task != "classification" or name is None or not facts.classes:
        return
    if name not in facts.classes or len(facts.classes) != 2:
        yield (
            f"data.positive_class must be one of exactly two classes. Expected of the {len(facts.classes)} in the "
            f"data: {_some(facts.classes)}. Received: positive_class={name!r}. "
            f"{'Correct it' if len(facts.classes) == 2 else 'Set it to null'}."
        )


def _split(params: Params, source: Source, facts: Facts) -> Iterator[str]:
    split = params.split
    if split.method == "given":
        if not facts.splits:
            yield (
                "split.method=given needs a source that says what each sample is for. Received: method=given, and "
                f"none of the {source.count:,} samples has a split. Set split.method: stratified (or group, time)."
            )
        elif facts.splits.get("", 0):
            yield (
                f"split.method=given needs a split for every sample. Received: {facts.splits['']:,} of "
                f"{source.count:,} samples without one. Complete the source, or set split.method: stratified."
            )
    if split.method == "group" and not facts.groups and params.data.labelled_windows is None:
        yield (
            "split.method=group needs groups. Received: method=group, and no sample has one. Set split.method: "
            f"stratified, or name the column: `millrace init --kind {source.kind} --set group=COLUMN ...`."
        )
    if split.method == "group":
        yield from _groups(params, facts)
    if split.method == "time" and params.data.windows is None and facts.times < source.count:
        yield (
            "split.method=time needs a time for each sample. Received: method=time, and "
            f"{source.count - facts.times:,} of {source.count:,} samples have none. Set split.method: stratified, or "
            f"name the column: `millrace init --kind {source.kind} --set time=COLUMN ...`."
        )


def classes_of_few_groups(task: str, facts: Facts) -> Mapping[str, int]:
    """Return what has fewer groups than a split by group needs: class to groups; without classes "" to all groups."""
    if task in WITH_CLASSES:
        return facts.few_groups
    return {"": facts.groups} if 0 < facts.groups < PARTS else {}


def _groups(params: Params, facts: Facts) -> Iterator[str]:
    few = classes_of_few_groups(params.data.task, facts)
    if not few or params.data.labelled_windows is not None:  # a few steps of a class are no window of it
        return
    shown = [f"{count} of class {name!r}" if name else f"{count}" for name, count in few.items()]
    yield (
        "split.method=group cannot put every class into train, val and test. Expected three groups of each, or more. "
        f"Received: {_some(shown)}. Say who is where in a column (--set split=COLUMN), bring more, or, where members "
        "of a group are no copies of each other, read the data without --set group=."
    )


def _windows(params: Params, _source: Source, facts: Facts) -> Iterator[str]:
    windows = params.data.windows
    if windows is None or not facts.channels:
        return
    for key in ("targets", "known", "known_categorical"):
        unknown = [name for name in getattr(windows, key) if name not in facts.channels]
        if unknown:
            yield (
                f"data.windows.{key} names columns that the series do not have. Expected some of "
                f"{_some(facts.channels)}. Received: {', '.join(unknown)}. Correct data.windows.{key}."
            )
    needed = windows.length + windows.horizon
    if facts.length is not None and needed > facts.length[2]:
        yield (
            f"data.windows need {needed:,} steps (length={windows.length}, horizon={windows.horizon}), and the longest "
            f"series has {facts.length[2]:,}. Lower data.windows.length or horizon."
        )


def _columns(params: Params, source: Source, facts: Facts) -> Iterator[str]:
    if source.kind in WITHOUT_COLUMNS or params.data.windows is not None:
        return  # said by another rule; windows have columns of their own
    known = {*facts.side} | ({"group"} if facts.groups else set())
    unknown = [name for name in params.register.slices or () if name not in known]
    if unknown:
        yield (
            f"register.slices names columns that the samples do not have. Expected some of "
            f"{_some(sorted(known)) or 'none, for there are no groups and side columns'}. Received: "
            f"{', '.join(unknown)}. Correct register.slices, or name the column for `millrace init --set`."
        )


def _images(params: Params, _source: Source, facts: Facts) -> Iterator[str]:
    if facts.height is None or facts.width is None:
        return
    (low, middle_height, high), (narrow, middle_width, wide) = facts.height, facts.width
    if params.data.image_size is None and (low != high or narrow != wide):
        yield (
            f"data.image_size is null, and the images are {low} to {high} pixels high and {narrow} to {wide} wide. "
            "Expected one size for all: nothing is resized unasked. Set data.image_size: "
            f"[{min(middle_height, 64)}, {min(middle_width, 64)}]."
        )
    if params.data.channels is None and len(facts.image_channels) > 1:
        yield (
            "data.channels is null, and some images are grey and some in colour. Expected one of them for all. Set "
            "data.channels: 3, or 1 to read all as grey."
        )


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:SHOWN]) + (f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else "")
