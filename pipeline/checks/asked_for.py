"""What the source was told to read, against what params.yaml does with it: used, refused or told, never passed over.

`millrace init --set side=age` reads a column; only `features.side` gives it to a model. Nobody who typed the first
means to go without the second, so that is refused, with the lines to copy. A column that is read for a use that another
setting decides (a group, a time, a target beside a label) is told. Options are looked up by their names in
data/source.json, so that this holds for every kind of source that has them.
"""

from collections.abc import Iterator, Sequence

from pipeline.fetching.source import KINDS, Source
from pipeline.params.families import COMBINATIONS, family_of
from pipeline.params.sections import WITH_CLASSES
from pipeline.params.values import Params

SIDE_OPTIONS = ("side", "static")
"""Columns that become side features: of a sample, and of a whole series."""
SIDE_LINES = """
  side:
    categories: one_hot    # or embedded
    max_categories: 50"""
SERIES_WITH_TIMES = ("series_table",)
"""Kinds whose samples have times without an option."""


def side_columns_are_used(params: Params, source: Source) -> Iterator[str]:
    """Yield side columns that the source reads and no model would see."""
    if params.features.side is not None or params.data.task == "anomaly":
        return
    for option in SIDE_OPTIONS:
        unused = [column for column in named(source, option) if column not in (params.register.slices or ())]
        if unused:
            yield (
                "features.side is null, and no model would see the side columns that the source reads. Expected them "
                f"to be used. Received: {option}={','.join(unused)} in data/source.json. Run `millrace init` again "
                f"without --set {option}=, or add these lines below `features:`, in place of `side: null`:{SIDE_LINES}"
            )


def columns_are_named(params: Params, source: Source) -> Iterator[str]:
    """Yield what the split and the task need of the source, where nobody said which column has it."""
    method, task = params.split.method, params.data.task
    if method == "group" and not _has_groups(params, source):
        yield (
            "split.method=group needs groups. Expected the column of a person, machine or document. Received: "
            f"kind={source.kind} without group= in data/source.json. Name it (`millrace init ... --set group=COLUMN`, "
            "of kinds that have the option), or set split.method: stratified."
        )
    timed = source.kind in SERIES_WITH_TIMES or source.options.get("time")
    if method == "time" and not timed and not (source.facts and source.facts.times):
        yield (
            "split.method=time needs times. Expected the column of a time for each sample. Received: "
            f"kind={source.kind} without time= in data/source.json. Name it (`millrace init ... --set time=COLUMN`, "
            "of kinds that have the option), or set split.method: stratified."
        )
    wanted = {"classification": "label", "multilabel": "label", "regression": "target"}.get(task, "")
    other = {"label": "target", "target": "label"}.get(wanted, "")
    has = source.options.get(wanted) or (wanted == "label" and source.options.get("label_columns"))
    if other and params.data.windows is None and source.options.get(other) and not has:
        yield (
            f"data.task={task} learns from a {wanted}, and the source reads a {other} only. Expected {wanted}=COLUMN. "
            f"Received: {other}={source.options[other]} in data/source.json. Run `millrace init` again with --set "
            f"{wanted}=COLUMN, or set data.task: {'regression' if other == 'target' else 'classification'}."
        )


def _has_groups(params: Params, source: Source) -> bool:
    """Tell whether samples name a group, or may do so: a column, a folder, a part of the name, or a recording."""
    if source.facts is not None and source.facts.groups:
        return True
    by_name = source.kind == "image_folder" and "group" in str(source.options.get("label", ""))
    by_folder = source.options.get("folders") == "group"
    return (
        bool(source.options.get("group")) or by_name or by_folder or params.data.labelled_windows is not None
    )


def unused_columns(params: Params, source: Source) -> list[str]:
    """Return one line that names every column that is read and has no effect, and why; [] if there is none."""
    idle = ", ".join(
        f"{option}={','.join(columns)} ({why})" for option, columns, why in _unused(params, source)
    )
    fix = "Set what is said, or leave them out of `millrace init`."
    return (
        [f"data/source.json: these columns are read and have no effect here: {idle}. {fix}"] if idle else []
    )


def _unused(params: Params, source: Source) -> Iterator[tuple[str, Sequence[str], str]]:
    task, method, slices = params.data.task, params.split.method, params.register.slices or ()
    if named(source, "group") and method not in ("group", "given") and "group" not in slices:
        why = f"split.method={method} may put one group on both sides, which the leak gate refuses; set it to group"
        yield "group", named(source, "group"), why
    if source.kind not in SERIES_WITH_TIMES and named(source, "time") and method != "time":
        yield "time", named(source, "time"), f"split.method={method} does not look at times; set it to time"
    if named(source, "split") and method != "given":
        yield "split", named(source, "split"), f"split.method={method} draws its own; set it to given"
    windowed = params.data.windows is not None
    for option, learnt in (("label", WITH_CLASSES), ("target", ("regression",))):
        if named(source, option) and (task not in learnt or windowed):
            why = "windows take theirs from data.windows" if windowed else f"the task is {task}"
            yield option, named(source, option), why
    if named(source, "anomaly_windows") and task != "anomaly":
        yield "anomaly_windows", named(source, "anomaly_windows"), f"the task is {task}"
    for option in SIDE_OPTIONS:
        columns = [column for column in named(source, option) if column not in slices]
        if columns and not _some_family_joins(params, source):
            yield option, columns, "no candidate's family joins side features"


def _some_family_joins(params: Params, source: Source) -> bool:
    joining = {
        row.family
        for row in COMBINATIONS
        if row.side
        and (row.payload, row.task, row.windowed)
        == (KINDS[source.kind], params.data.task, params.data.windows is not None)
    }
    return any(family_of(candidate) in joining for candidate in params.candidates.values())


def named(source: Source, option: str) -> list[str]:
    """Return the columns that an option of the source names."""
    value = source.options.get(option, "")
    return [str(column) for column in (value if isinstance(value, list) else [value]) if column != ""]
