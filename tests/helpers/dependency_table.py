"""docs/dependencies.tsv against requirements.lock and what is installed, without a network."""

import csv
import re
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TABLE = ROOT / "docs/dependencies.tsv"
AS_OF = "2026-11"
"""Month in which the table was made: two years before it begins what is stale."""
STALE_YEARS = 2


def rows() -> list[dict[str, str]]:
    """Return the table: package, newest_release (YYYY-MM), licence, reads ("" or what of strangers it parses)."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def locked() -> dict[str, str]:
    """Return package to version, as requirements.lock pins them."""
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    return dict(re.findall(r"^([A-Za-z0-9_.-]+)==([^ ;\\]+)", text, re.MULTILINE))


def licence(package: str) -> str | None:
    """Return the licence in an installed package's own words, None if it is not installed here."""
    try:
        about = metadata.metadata(package)
    except metadata.PackageNotFoundError:
        return None
    told = about.get("License-Expression")
    classified = [
        text.rpartition("::")[2].strip()
        for text in about.get_all("Classifier", [])
        if text.startswith("License ::") and not text.endswith("OSI Approved")
    ]
    first = (about.get("License") or "").strip().partition("\n")[0][:60]
    return told or " / ".join(classified) or first or "in a file"


def stale(newest_release: str) -> bool:
    """Return whether a package has had no release for two years."""
    year, month = AS_OF.split("-")
    return newest_release < f"{int(year) - STALE_YEARS}-{month}"
