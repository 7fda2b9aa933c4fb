"""A params.yaml that fits a source: a worked example, changed where the facts of the data ask for it.

`millrace init` writes it, so that `dvc repro` is the next thing typed. Every change is told with its reason, both to
the user and at the head of the file. What only the owner of the data can know (what counts as good enough, which
column is worth forecasting) keeps the example's value or the plainest one, and is told as well. The file is long
because every rule changes the same file, in the order in which its owner reads what was changed.
"""

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from pipeline.checks.asked_for import SERIES_WITH_TIMES
from pipeline.checks.example_names import OF_MODELS
from pipeline.checks.facts import classes_of_few_groups
from pipeline.fetching.source import KINDS, Facts, Source
from pipeline.params.families import supports
from pipeline.params.sections import CLASS_BOUNDS, WITH_CLASSES
from pipeline.params.template import Template
from pipeline.runtime.strict_yaml import yaml_content
from pipeline.splits.assignment import salt_for_groups

WANTED_TEST_ROWS = 45
"""The gate wants 30; a split by hash misses its share by a few."""
MOST_PIXELS = 64
"""Side of the images that the example of photographs reads."""
PHOTOGRAPH = 40
"""Pixels of a side beyond which an image is a photograph."""
SMALL = 1000
"""Samples below which a batch is a tenth of the training set or less, and the search for copies costs nothing."""
ONE_BATCH = 8
FEW_STEPS = 1000
"""Steps of a training on few photographs, at least; with the examples' 1,500 a cnn goes twice through 400 of them in
each epoch. Through fewer than 300 it goes two or three times also with these."""
PACKED = re.compile(
    r"([.](zip|tar|tgz|gz|bz2|xz|csv|tsv|tab|txt|jsonl|ndjson|json|parquet|pq|npz|npy))+$", re.IGNORECASE
)
NO_NAMES = frozenset(
    ["data", "dataset", "files", "http", "https", "images", "input", "raw", "texts", "train"]
)
"""Folders that are called like this say nothing; the one around them does."""
SIDE_BLOCK = {"categories": "one_hot", "max_categories": 50}
SEASONS = ((3600.0, 24), (1800.0, 48), (900.0, 96), (86400.0, 7), (2629800.0, 12))
"""Seconds of a step to the steps after which such series usually begin again: a day, a week, a year."""
USUAL_DUPLICATES = 0.05
MOST_DUPLICATES = 0.2
"""As many as collections of short messages have (sms-spam); more of them is for a person to allow."""
USUAL_WINDOW = 100
"""Steps of a window with a class, where recordings are long enough."""
SALT = "millrace"
LARGER_SHARES = (0.25, 0.3, 0.33)
"""Of three groups each is a third: no split of a fifth holds one."""
MOST_HELD_OUT = 0.7
"""Of val and test together."""
FEWEST, HANDFUL = 3, 10
"""Samples of a class: one for each split, and so many that it is no slip of the pen."""


@dataclass
class Fitted:
    """A params.yaml, and what was set for the data.

    Attributes:
        text: The file.
        changes: One line for each setting, with its reason.
    """

    text: str
    changes: list[str] = field(default_factory=list)


def base_example(source: Source) -> str:
    """Return the name of the example that is nearest to a source."""
    payload, facts = KINDS[source.kind], source.facts or Facts()
    if payload == "image":
        side = max(
            (facts.height or (0, 0, 0))[1], (facts.width or (0, 0, 0))[1], *(source.image_size or (0,))
        )
        if side > PHOTOGRAPH:
            return "clothing"
        return "fashion-mnist" if side > 16 and source.count >= 5 * SMALL else "digits"
    if payload == "text" and source.several_labels:
        return "joined-intents"
    if payload == "text":
        return "banking77" if facts.num_classes > 2 else "sms-spam"
    if source.options.get("step_label"):
        return (
            "basic-motions" if sum(facts.step_classes.values()) < SMALL * USUAL_WINDOW else "japanese-vowels"
        )
    if source.kind == "series_table" and not facts.num_classes and not facts.targets:
        return "nab" if source.options.get("anomaly_windows") else "etth1"
    return "basic-motions" if source.count < SMALL else "japanese-vowels"


def fitted(
    example: str,
    text: str,
    source: Source,
    project: Path,
    groups: Mapping[str, Mapping[str, int]] | None = None,
) -> Fitted:
    """Return an example's params.yaml, made to fit a source.

    Args:
        example: Its name, for the head of the file.
        text: Its content.
        source: What the data is; its facts must be known.
        project: Folder of the project, which names a model where the data has no name.
        groups: Group to class to samples, where they are known: a split by group is tried on them.
    """
    facts = source.facts or Facts()
    fit = _Fit(Template(text), yaml_content(text, example), source, facts)
    members = fit.of_windows(groups or {})
    fit.task()
    fit.validation(members)
    fit.split(members)
    {"image": fit.images, "text": fit.texts, "series": fit.series}[KINDS[source.kind]]()
    fit.side()
    fit.training()
    name = model_name(source, project)
    fit.set("register.model_name", name, "after the data")
    fit.set("register.experiment", f"millrace-{name}", "")
    fit.template.head(
        [
            f"Written by `millrace init` for {source.count:,} samples of kind {source.kind}; begun from",
            f"examples/{example}.yaml, and changed for this data:",
            *(f"- {change}" for change in fit.changes),
            "Every knob is explained beside it; `dvc repro check` refuses what cannot work.",
        ]
    )
    return Fitted(fit.template.text, fit.changes)


def model_name(source: Source, project: Path) -> str:
    """Return a name for the model from the data's folder or file, such as `clothing-small`, or the project's."""
    place = source.location
    given = "" if isinstance(place, str) else place.path or (place.url or "").split("?")[0]
    parts = [project.name, *(PACKED.sub("", part) for part in PurePosixPath(given).parts)]
    names = [re.sub(r"[^A-Za-z0-9_.-]+", "-", part).strip("-._") for part in parts]
    name = next((name for name in reversed(names) if name and name.lower() not in NO_NAMES), "model")
    return f"own-{name}" if name in OF_MODELS else name


class _Fit:
    """Changes a template step by step, and keeps what was changed and why."""

    def __init__(self, template: Template, content: Mapping[str, Any], source: Source, facts: Facts) -> None:
        self.template = template
        self.changes: list[str] = []
        self._content, self._source, self._facts = content, source, facts
        self._task = str(content["data"]["task"])
        self._windowed = content["data"].get("windows") is not None
        self._cut = self._window() if source.options.get("step_label") else None

    def set(self, key: str, value: Any, why: str) -> None:
        """Set a value; with a reason the change is told."""
        section, name = key.split(".", 1)
        if "." not in name and self._content[section].get(name, msgspec.UNSET) == value:
            return
        self.template.set(key, value)
        if why:
            said = list(value) if isinstance(value, tuple) else value
            line = f"{key}: {said} ({why})"
            self.changes.append(line if line.isprintable() else ascii(line)[1:-1])

    def task(self) -> None:
        """Regression where samples have numbers and no classes; candidates and bounds follow the task."""
        facts = self._facts
        if self._source.several_labels:
            self._several_labels()
        elif facts.targets and not facts.num_classes and not self._windowed:
            self._task = "regression"
            self.set("data.task", "regression", f"{facts.targets:,} samples have a number, none a class")
            self.template.remove("data.positive_class")
            for bound in CLASS_BOUNDS:
                self.template.remove(f"validate.{bound}")
            self.set("evaluate.select_by", "mean_absolute_error", "")
            for name in ("class_tolerance", "calibration_budget"):
                self.set(f"register.{name}", None, "")
            self._plain_loss()
        if self._task == "classification":
            self._two_classes()
        for name, candidate in self._content["candidates"].items():
            if not supports(
                candidate["family"], KINDS[self._source.kind], self._task, windowed=self._windowed
            ):
                self.template.remove(f"candidates.{name}")

    def _several_labels(self) -> None:
        self._task = "multilabel"
        self.set(
            "data.task",
            "multilabel",
            f"samples may have several of {self._facts.num_classes:,} labels, or none",
        )
        self.template.remove("data.positive_class")
        self.template.set("data.limit_per_class", None)
        self.set("evaluate.select_by", "mean_average_precision", "")
        self._plain_loss()

    def _plain_loss(self) -> None:
        self.template.set("training.monitor", "val_loss")
        self.template.set("training.class_weights", "none")
        self.template.set("training.label_smoothing", 0.0)

    def _window(self) -> dict[str, Any]:
        """Return windows that most recordings hold several of, and the shortest one too, unless it is an oddity."""
        shortest, usual, _ = self._facts.length or (0, 4 * USUAL_WINDOW, 0)
        length = max(2, min(USUAL_WINDOW, usual // 4))
        if 4 * shortest >= length:
            length = max(2, min(length, shortest))
        return {"length": length, "stride": max(1, length // 2), "label": "majority"}

    def of_windows(self, members: Mapping[str, Mapping[str, int]]) -> Mapping[str, Mapping[str, int]]:
        """Return groups and their classes without the few steps between two others, which are most of no window."""
        if self._cut is None:
            return members
        least = self._cut["length"] / 2
        return {
            group: {name: steps for name, steps in held.items() if steps >= least} or held
            for group, held in members.items()
        }

    @property
    def _rows(self) -> int:
        """Return how many samples there will be to learn from."""
        if self._cut is None:
            return self._source.count
        return max(1, sum(self._facts.step_classes.values()) // int(self._cut["stride"]))

    def _two_classes(self) -> None:
        classes = self._facts.classes
        if len(classes) != 2:
            self.template.remove("data.positive_class")
            if self._content["evaluate"]["select_by"] == "positive_f1":
                self.set("evaluate.select_by", "accuracy", "")
            return
        rare = min(classes, key=lambda name: (classes[name], name))
        self.set(
            "data.positive_class", rare, f"the rarer class, {classes[rare]:,} of {sum(classes.values()):,}"
        )
        if max(classes.values()) > 2 * classes[rare]:
            self.set("evaluate.select_by", "positive_f1", "one class is more than twice as frequent")
        elif self._content["evaluate"]["select_by"] == "positive_f1":
            self.set("evaluate.select_by", "accuracy", "two classes of about the same size")

    def validation(self, members: Mapping[str, Mapping[str, int]]) -> None:
        """Bounds of classes that this data can hold; they still guard against what later data loses.

        Args:
            members: Group to class to samples, or to steps of windows; empty where they are not known.
        """
        if "max_duplicate_share" in self._content["validate"]:
            # That of the short messages it begins from is a property of theirs.
            share = self._facts.copies / self._source.count
            if USUAL_DUPLICATES < share <= MOST_DUPLICATES:
                why = f"{share:.1%} of the texts stand there more than once; copies are kept in one split"
                self.set("validate.max_duplicate_share", math.ceil(120 * share) / 100, why)
            else:
                self.set("validate.max_duplicate_share", USUAL_DUPLICATES, "")
        classes: Mapping[str, int] = self._facts.classes
        if self._cut is not None:
            stride = int(self._cut["stride"])
            held = sum((Counter(group) for group in members.values()), Counter[str]())
            classes = {name: steps // stride for name, steps in (held or self._facts.step_classes).items()}
        if self._task not in WITH_CLASSES or not classes:
            return
        rarest, largest = max(1, min(classes.values())), max(classes.values())
        usual = 20
        least = max(FEWEST, min(usual, rarest))
        name = min(classes, key=classes.__getitem__)
        why = "" if least == usual else f"the rarest class, {name!r}, has {rarest:,}"
        self.set("validate.min_samples_per_class", least, why)
        ratio = largest / rarest
        # Of a class with a handful of samples nobody knows whether it is one: that bound stays for its owner.
        if rarest >= HANDFUL and ratio > float(self._content["validate"]["max_class_ratio"]):
            bound = float(math.ceil(ratio * 1.2))
            self.set(
                "validate.max_class_ratio", bound, f"the largest class has {ratio:.0f} times as many samples"
            )
        if ratio > 10 and self._task == "classification":
            self.set("training.class_weights", "balanced", "classes of very different size")

    def split(self, members: Mapping[str, Mapping[str, int]]) -> None:
        """The given split, else by group, else stratified; enough rows to judge by."""
        facts, count = self._facts, self._source.count
        for key in ("val_start", "test_start", "test_end"):
            self.template.remove(f"split.{key}")
        self.template.set("split.salt", SALT)
        if self._windowed:
            if self._task == "forecasting":
                self.set("split.val_share", 0.15, "")
                self.set("split.test_share", 0.2, "")
            return
        complete = {"train", "test"} <= set(facts.splits) and "" not in facts.splits
        if complete:
            self.set("split.method", "given", f"the source says it: {_counts(facts.splits)}")
            if "val" not in facts.splits:  # counted out class by class, so that none is missed
                self.set("split.val_share", self._usual_val_share(), "")
            return
        by_group = bool(facts.groups) or self._cut is not None
        if by_group:
            groups = f"{facts.groups:,} groups" if facts.groups else f"windows of {count:,} recordings"
            self.set("split.method", "group", f"{groups}, none torn apart")
        elif facts.times == count and self._source.kind not in SERIES_WITH_TIMES:
            self.set("split.method", "time", "samples have times: the past trains, what came later judges")
        else:
            # A number has no classes to stratify by; `by_hash` treats all samples as one.
            self.set("split.method", "stratified", "")
        share = min(0.4, max(0.2, math.ceil(100 * WANTED_TEST_ROWS / self._rows) / 100))
        why = "" if share == 0.2 else f"of {self._rows:,} samples; the gate judges by 30 rows or more"
        self.set("split.test_share", share, why)
        val_share = self._val_share(1 - share)
        if by_group and members and not classes_of_few_groups(self._task, facts):
            self._draw(members, val_share, share)

    def _draw(self, members: Mapping[str, Mapping[str, int]], val_share: float, test_share: float) -> None:
        """Try the split by group; of few groups another salt, or larger shares, put every class everywhere.

        Args:
            members: Group to class to samples, or steps.
            val_share: As it is set.
            test_share: As it is set.
        """
        if self._task not in WITH_CLASSES:  # which is to be everywhere as a whole
            members = {group: {"": sum(held.values())} for group, held in members.items()}
        for least in (0.0, *LARGER_SHARES):
            shares = {"val_share": max(val_share, least), "test_share": max(test_share, least)}
            if sum(shares.values()) > MOST_HELD_OUT:
                break
            salt = salt_for_groups(members, salt=SALT, **shares)
            if salt is None:
                continue
            why = f"so {len(members):,} groups put every class into train, val and test"
            for name, share in shares.items():
                if least:
                    self.set(f"split.{name}", share, why)
            if salt != SALT:
                self.set("split.salt", salt, why)
            return
        self.changes.append(
            f"split: no draw of {len(members):,} groups was found that puts every class into train, val and test, with "
            "no group much larger than its part; bring more groups, or say who is where in a column: --set split=COLUMN"
        )

    def _val_share(self, left: float) -> float:
        """Raise the share of validation where a rare class would miss it more often than once in a hundred draws.

        Args:
            left: Share of the samples that val is drawn from.
        """
        if self._cut is not None:
            self.set("split.val_share", 0.2, "")  # of groups, of which nobody knows the classes
            return 0.2
        usual = self._usual_val_share()
        rarest = left * min(self._facts.classes.values(), default=self._source.count)
        needed = math.ceil(100 * (1 - 0.01 ** (1 / max(rarest, 1)))) / 100
        share: float = min(0.4, max(usual, needed))
        why = "" if share == usual else f"the rarest class has about {rarest:.0f} samples to draw from"
        self.set("split.val_share", share, why)
        return share

    def _usual_val_share(self) -> float:
        return 0.15 if self._source.count >= SMALL // 5 else 0.2

    def images(self) -> None:
        """Size, channels, and networks that such a size leaves something of."""
        facts = self._facts
        if facts.height is None or facts.width is None:
            return
        equal = facts.height[0] == facts.height[2] and facts.width[0] == facts.width[2]
        height, width = facts.height[1], facts.width[1]
        if equal and max(height, width) <= MOST_PIXELS:
            self.set("data.image_size", None, "")
        else:
            # Upright and lying photographs together lose least in a square.
            one_shape = equal or (facts.height[2] < facts.width[0]) or (facts.width[2] < facts.height[0])
            sides = (height, width) if one_shape else (max(height, width),) * 2
            scale = min(1.0, MOST_PIXELS / max(sides))
            size = [max(16, round(side * scale / 8) * 8) for side in sides]
            known = f"{_range(facts.height)} high, {_range(facts.width)} wide"
            self.set("data.image_size", size, f"pixels; the files are {known}")
            height, width = size
        channels = 3 if 3 in facts.image_channels else 1
        why = {1: "the files are grey", 3: "the files are in colour"}[channels]
        if len(facts.image_channels) > 1:
            why = "some files are grey, some in colour"
        self.set("data.channels", channels, why)
        if channels == 1:
            groups = [group for group in self._content["features"]["groups"] if group != "colour"]
            self.set("features.groups", groups, "")
        self.set("features.edge_cell_px", max(2, min(8, min(height, width) // 4)), "")
        for name in self._content["candidates"]:
            augment = (self._content["candidates"][name].get("training") or {}).get("augment") or {}
            for key in ("shift_px", "cutout_px"):
                if augment.get(key, 0) * 3 > min(height, width):
                    self.template.set(f"candidates.{name}.training.augment.{key}", min(height, width) // 10)
            if augment.get("flip"):
                self.changes.append(
                    f"candidates.{name} mirrors images left and right: set augment.flip and test_time_flip to false "
                    "where left and right mean something (letters, arrows)"
                )
        if max(height, width) > PHOTOGRAPH and self._rows < SMALL:
            self._few_photographs(min(height, width))
        else:
            self._blocks(min(height, width))

    def _few_photographs(self, side: int) -> None:
        """Spend no hour on what few photographs cannot repay: a dozen trainings of each network, to choose by folds."""
        least = min(FEW_STEPS, self._content["training"]["min_steps"])
        self.set("training.min_steps", least, "photographs are dear, and these few are soon known by heart")
        for name, candidate in self._content["candidates"].items():
            filters, most = (candidate.get("model") or {}).get("filters"), _most_blocks(side)
            if candidate["family"] in ("autoencoder", "rnn"):
                self.template.remove(f"candidates.{name}")
                self.changes.append(
                    f"candidates.{name}: left out (dear where photographs are few; the example has its block)"
                )
            elif filters:
                halves = [max(1, number // 2) for number in filters[:most]]
                why = f"half of {filters[:most]}: hardly worse on {self._rows:,} photographs, at two fifths of the cost"
                if len(filters) > most:
                    why += f"; {side} pixels are halved {most} times"
                self.set(f"candidates.{name}.model.filters", halves, why)

    def _blocks(self, side: int) -> None:
        """Leave out blocks of convolutions that would halve the image away."""
        for name, candidate in self._content["candidates"].items():
            filters, most = (candidate.get("model") or {}).get("filters"), _most_blocks(side)
            if filters and len(filters) > most:
                self.set(
                    f"candidates.{name}.model.filters",
                    filters[:most],
                    f"{side} pixels are halved {most} times",
                )

    def texts(self) -> None:
        """How many tokens a model sees: four times the middle text, up to 256 words."""
        longest = self._facts.length
        if longest is None:
            return
        tokens = max(16, min(256, 8 * math.ceil(4 * longest[1] / 8), 8 * math.ceil(longest[2] / 8)))
        why = f"a text has {longest[1]:,} words in the middle, {longest[2]:,} at most; what is longer is cut"
        self.set("features.text.max_tokens", tokens, why)

    def series(self) -> None:
        """Lengths of windows, and what they predict; of whole series which of them are cut."""
        facts = self._facts
        if self._cut is not None:
            length = int(self._cut["length"])
            self.set(
                "data.labelled_windows",
                self._cut,
                f"the source says the class of every step ({self._rows:,} windows)",
            )
            self._convolutions(length)
            return
        if not self._windowed:
            if facts.length is not None and facts.length[2] > 4 * max(1, facts.length[1]):
                most = 2 * facts.length[1]
                self.set(
                    "features.series.max_length", most, f"a few series have up to {facts.length[2]:,} steps"
                )
            return
        channels, steps = facts.channels, facts.length[2] if facts.length else 0
        season = next((after for seconds, after in SEASONS if seconds == facts.step_seconds), 0)
        if self._task == "forecasting":
            horizon = max(1, min(season or 12, steps // 20))
            length = max(2, min(7 * horizon if season else 4 * horizon, steps // 5))
            self.set("data.windows.horizon", horizon, "steps ahead; say what you need")
            self.set("data.windows.targets", channels, "every channel; name those you need")
            self.set("data.windows.stride", max(1, steps // 20000), "")
        else:
            length = max(2, min(48, steps // 20))
        self.set("data.windows.length", length, f"steps of history; a series has {steps:,}")
        season = season if 1 < season <= length else 1
        if "season" in self._content["evaluate"]:
            self.set("evaluate.season", season, "")
        for name, candidate in self._content["candidates"].items():
            model = candidate.get("model") or {}
            if model.get("season"):
                self.template.set(f"candidates.{name}.model.season", season)
        self._convolutions(length)

    def _convolutions(self, length: int) -> None:
        """Leave out what would pool a window away."""
        for name, candidate in self._content["candidates"].items():
            model = candidate.get("model") or {}
            if (model.get("pool_size") or 1) > 1 and model.get("filters") and length < 64:
                self.template.set(f"candidates.{name}.model.pool_size", 2)
                self.template.set(
                    f"candidates.{name}.model.filters",
                    model["filters"][:1] if length < 16 else model["filters"],
                )
            if model.get("look_backs"):
                # A part, half and the whole of the history: which of them pays is chosen on train.
                parts = sorted({max(2, length // 4), max(2, length // 2), length})
                self.template.set(f"candidates.{name}.model.look_backs", parts)
            if (model.get("degree") or 0) > length - 2:
                self.template.set(f"candidates.{name}.model.degree", max(0, length - 2))
            if (model.get("kernel_size") or 1) > length:
                self.template.set(f"candidates.{name}.model.kernel_size", min(3, length))

    def side(self) -> None:
        """Side columns that the source brings are used."""
        if self._facts.side and not (self._content["features"].get("side")):
            self.set("features.side", dict(SIDE_BLOCK), f"the source brings {', '.join(self._facts.side)}")

    def training(self) -> None:
        """Smaller steps where there are few samples; settings that do not belong to the task go."""
        rows = self._rows
        if self._windowed:
            return
        if rows < SMALL:
            most = ONE_BATCH if rows < SMALL // 5 else 2 * ONE_BATCH
            if self._content["training"]["batch_size"] > most:
                self.set("training.batch_size", most, f"of {rows:,} samples")
            if self._task in WITH_CLASSES:
                why = "where few are held out, one that is surely wrong should end no training"
                self.set("training.monitor", "val_calibrated_loss", why)
        if self._content.get("reduce") is not None:
            self.template.set("reduce", None)  # it costs minutes and decides nothing
        for name, candidate in self._content["candidates"].items():
            training = candidate.get("training") or {}
            if self._task != "classification" and training.get("label_smoothing"):
                self.template.set(f"candidates.{name}.training.label_smoothing", 0.0)
            if training.get("batch_size", 0) > max(ONE_BATCH, rows // 10):
                self.template.set(f"candidates.{name}.training.batch_size", max(ONE_BATCH, rows // 20))


def _most_blocks(side: int) -> int:
    return max(1, int(math.log2(max(2, side))) - 1)


def _counts(splits: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in splits.items())


def _range(span: tuple[int, int, int]) -> str:
    return f"{span[0]:,}" if span[0] == span[2] else f"{span[0]:,} to {span[2]:,}"
