"""What an answer rests on: a part of a record is taken away, and how much the answer moves is how much it rested on it.

Occlusion after Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks" (2014): tiles of an image are
painted in the mean colour of training, words are left out, channels and stretches of a series take the mean of the
scale that it is read by, columns beside are missing. It asks the model alone, whatever its family. Parts that stand for
each other (two copies of one word) hide what they mean together: each alone changes little.
"""

import base64
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.inputs.record_columns import columns_beside, main_field, reads_steps
from pipeline.inputs.specs import IMAGE
from pipeline.reports.html import Fact, made_fact, render
from pipeline.runtime import processes
from pipeline.runtime.errors import DataRefused
from pipeline.runtime.files import write_text
from pipeline.serving.answer_files import explained
from pipeline.serving.record import Record, Transform, means_read
from pipeline.serving.record_files import Given
from pipeline.serving.scorer import Answer, Refused, Scorer

MOST_WORDS = 64
"""Of a text; longer ones are taken away some at a time."""
TILES = 8
"""An image in so many rows and columns, or as many as it has pixels."""
STRETCHES = 16
"""Of the steps of a series that are read."""
WORD = re.compile(r"\S+")
UNSPACED = (
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    r"\U00020000-\U0003ffff"
)
"""Thai, Lao, Burmese, Khmer, kana and Han: scripts without blanks between words."""
SIGN_OR_WORD = re.compile(rf"[{UNSPACED}]|[^\s{UNSPACED}]+")
Part = tuple[str, Any]
"""Kind (`words`, `tiles`, `channels`, `stretches`, `side`, `known`) and which: a text, a place, a name."""


class Explainer:
    """Takes records apart.

    Args:
        scorer: The model.
    """

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer
        self._state = scorer.state

    def explained(self, record: Record, answer: Answer) -> dict[str, Any]:
        """Return what an answer rests on.

        Args:
            record: As it was answered.
            answer: To it.

        Returns:
            `of`: what is looked at, in words, and `value`; and by kind of part how much less the value is without it:
            `words` [[words, less], ...] in order; `tiles` rows of numbers; `channels` and `side` and `known` by name;
            `stretches` [[first step, last step, less], ...]. A part without which there is no answer is null.
        """
        parts = list(self._parts(record))
        without = self._scorer.answers([changed for _part, changed in parts])
        of, value = said_of(answer)
        found: dict[str, Any] = {"of": of, "value": value}
        for ((kind, which), _changed), other in zip(parts, without, strict=True):
            less = None if isinstance(other, Refused) else value - said_of(other, answer)[1]
            if kind in ("channels", "side", "known"):
                found.setdefault(kind, {})[which] = less
            elif kind == "tiles":
                rows = found.setdefault(kind, [])
                rows.extend([] for _ in range(which[0] + 1 - len(rows)))
                rows[which[0]].append(less)
            else:
                found.setdefault(kind, []).append([*which, less])
        return found

    def _parts(self, record: Record) -> Iterator[tuple[Part, Record]]:
        if reads_steps(self._state):
            field = main_field(self._state)
            yield from {"image": self._tiles, "text": self._words, "series": self._steps}[field](record)
        for key, columns in columns_beside(self._state).items():
            given = record.get(key) or {}
            for name in columns:
                if given.get(name) is not None:
                    yield (key, name), {**record, key: {**given, name: None}}

    def _tiles(self, record: Record) -> Iterator[tuple[Part, Record]]:
        pixels = pixels_read(record, self._state)
        mean = np.round(255 * np.asarray(self._state["image"]["mean"])).astype(np.uint8)
        for row, height in enumerate(np.array_split(np.arange(len(pixels)), min(TILES, len(pixels)))):
            for column, width in enumerate(
                np.array_split(np.arange(pixels.shape[1]), min(TILES, pixels.shape[1]))
            ):
                painted = pixels.copy()
                painted[height[0] : height[-1] + 1, width[0] : width[-1] + 1] = mean
                yield ("tiles", (row, column)), {**record, "image": painted}

    def _words(self, record: Record) -> Iterator[tuple[Part, Record]]:
        text = str(record["text"])
        words = [found.span() for found in word_pattern(self._state).finditer(text)]
        for some in np.array_split(np.arange(len(words)), min(MOST_WORDS, len(words)) or 1):
            if len(some):
                start, stop = words[some[0]][0], words[some[-1]][1]
                yield (
                    ("words", (" ".join(text[start:stop].split()),)),
                    {**record, "text": text[:start] + text[stop:]},
                )

    def _steps(self, record: Record) -> Iterator[tuple[Part, Record]]:
        steps = [list(step) if isinstance(step, list | tuple) else [step] for step in record["series"]]
        means = means_read(record, self._state).tolist()
        if len(means) > 1:
            for place, name in enumerate(self._state["series"]["channels"]):
                kept = [[*step[:place], means[place], *step[place + 1 :]] for step in steps]
                yield ("channels", name), {**record, "series": kept}
        read = self._scorer.steps_read(len(steps))
        for some in np.array_split(np.array(read), min(STRETCHES, len(read)) or 1):
            if len(some):
                first, last = int(some[0]), int(some[-1])
                middle = [means] * len(some)
                yield (
                    ("stretches", (first, last)),
                    {**record, "series": [*steps[:first], *middle, *steps[last + 1 :]]},
                )


def word_pattern(state: Mapping[str, Any]) -> re.Pattern[str]:
    """Return what a word is: what stands between blanks; of scripts without, where characters are read, each sign."""
    unit = (state["text"].get("tokens") or {}).get("unit")
    return SIGN_OR_WORD if unit == "characters" else WORD


def pixels_read(record: Record, state: Mapping[str, Any]) -> np.ndarray:
    """Return the pixels of a record as a model reads them, uint8 (height, width, channels)."""
    made = Transform({**state, "side": None}, [IMAGE])({"image": record["image"]})
    return np.asarray(made["inputs"][0])


def said_of(answer: Answer, first: Answer | None = None) -> tuple[str, float]:
    """Return what of an answer is looked at, in words, and its value.

    Args:
        answer: Of the scorer.
        first: The one that says which class or label counts; None for this one.

    Raises:
        DataRefused: The answer has no number.
    """
    chosen = first or answer
    if "class" in answer:
        return f"probability of {chosen['class']}", float(answer["probabilities"][chosen["class"]])
    if "labels" in answer:
        label = max(chosen["probabilities"], key=chosen["probabilities"].__getitem__)
        return f"probability of {label}", float(answer["probabilities"][label])
    if "values" in answer:
        target, value = next(iter(answer["values"].items()))
        steps = np.asarray(value, float)
        return (f"mean of {target} over {steps.size} steps" if steps.ndim else target), float(steps.mean())
    if "score" in answer:
        return "score, an alarm above 1", float(answer["score"])
    if "error" in answer:
        return "error of reconstruction", float(answer["error"])
    raise DataRefused(f"Expected an answer with a number. Received: {', '.join(answer)}.")


class Explanations:
    """What the first answers of a file rest on.

    Args:
        scorer: The model.
        most: How many are explained.
        called: The model, on the page.
    """

    def __init__(self, scorer: Scorer, most: int, called: str) -> None:
        self._explainer, self._left, self._called = Explainer(scorer), most, called
        self._state = scorer.state
        self._shown: list[tuple[str, Record, dict[str, Any]]] = []

    def add(self, given: Sequence[Given], lines: Sequence[Mapping[str, Any]]) -> None:
        """Look at some records.

        Args:
            given: As they were read.
            lines: What became of each: its answer, or `problems`.
        """
        for item, line in zip(given, lines, strict=True):
            if self._left and "problems" not in line:
                self._left -= 1
                found = self._explainer.explained(item.record, dict(line))
                self._shown.append((item.sample_id, item.record, found))

    def write(self, out: Path) -> None:
        """Write what was found beside a file of answers, as JSON lines and as a page."""
        if not self._shown:
            return
        lines = [
            json.dumps({"id": name, **found}, ensure_ascii=False) + "\n"
            for name, _record, found in self._shown
        ]
        as_lines, as_page = explained(out)
        write_text(as_lines, "".join(lines))
        facts = [Fact("model", self._called), Fact("answers", out.name, out.name), made_fact(processes.now())]
        write_text(as_page, explained_page(self._called, self._shown, self._state, facts))


# --- As a page: words and tiles in colour, the rest as a table.

FOR, AGAINST = "#e07b00", "#2166ac"
DIGITS = 3


def explained_page(
    called: str,
    shown: list[tuple[str, Record, dict[str, Any]]],
    state: Mapping[str, Any],
    facts: Sequence[Fact] = (),
) -> str:
    """Return explanations as one HTML page that opens offline.

    Args:
        called: The model.
        shown: Id, record and what `Explainer.explained` says, of each.
        state: Of the model.
        facts: What stands at the foot of the page.
    """
    return render(
        "explained.html.j2",
        facts=facts,
        called=called,
        shown=[_shown(name, record, found, state) for name, record, found in shown],
    )


def _shown(name: str, record: Record, found: Mapping[str, Any], state: Mapping[str, Any]) -> dict[str, Any]:
    rows = [
        (f"{kind}: {which}", less)
        for kind in ("channels", "side", "known")
        for which, less in found.get(kind, {}).items()
    ]
    rows += [(f"steps {first} to {last}", less) for first, last, less in found.get("stretches", ())]
    every = [less for _name, less in rows] + [less for _text, less in found.get("words", ())]
    every += [less for row in found.get("tiles", ()) for less in row]
    most = max((abs(less) for less in every if less is not None), default=0.0) or 1.0

    def told(less: float | None) -> dict[str, str]:
        share = 0.0 if less is None else less / most
        colour = FOR if share > 0 else AGAINST
        return {
            "less": "no answer without it" if less is None else f"{less:+.{DIGITS}g}",
            "opacity": f"{0.65 * abs(share):.2f}",
            "colour": colour,
            "background": f"{colour}{int(140 * abs(share)):02x}",
        }

    return {
        "id": name,
        "of": found["of"],
        "value": f"{found['value']:.{DIGITS}g}",
        "words": [{"text": text, **told(less)} for text, less in found.get("words", ())],
        "tiles": [[told(less) for less in row] for row in found.get("tiles", ())],
        "rows": [{"name": which, **told(less)} for which, less in rows],
        "image": _png(pixels_read(record, state)) if "tiles" in found else "",
    }


def _png(pixels: np.ndarray) -> str:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(file, "png")
    return base64.b64encode(file.getvalue()).decode()
