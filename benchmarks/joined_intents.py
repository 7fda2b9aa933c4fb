"""Texts with several labels, made of real ones: questions of BANKING77 joined by ones, twos and threes.

`python benchmarks/joined_intents.py BANKING77 OUT` reads train.csv and test.csv and writes both to OUT, with columns
`text` and `intents`, `card_arrival|lost_or_stolen_card`. Every question is used once, those of test in test; which are
joined is drawn with a fixed seed, so that no intent says anything about another. The labels are as right as those of
BANKING77; that people ask so is not claimed.
"""

import csv
import sys
from pathlib import Path

import numpy as np

SEED = 7
JOINED = (1, 2, 3)
SHARES = (0.3, 0.4, 0.3)


def joined(rows: list[tuple[str, str]], seed: int) -> list[tuple[str, str]]:
    """Return texts and their intents from questions and the intent of each.

    Args:
        rows: Question and intent.
        seed: Of the order and of how many are joined.
    """
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(rows)).tolist()
    made = []
    while order:
        taken = [rows[order.pop()] for _ in range(min(len(order), int(generator.choice(JOINED, p=SHARES))))]
        text = " ".join(question.strip() for question, _ in taken)
        made.append((text, "|".join(sorted({intent for _, intent in taken}))))
    return made


def main(source: Path, target: Path) -> None:
    """Write train.csv and test.csv."""
    target.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(("train.csv", "test.csv")):
        with (source / name).open(encoding="utf-8", newline="") as file:
            rows = [(row["text"], row["category"]) for row in csv.DictReader(file)]
        with (target / name).open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["text", "intents"])
            writer.writerows(joined(rows, SEED + number))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
