"""The gate's decision as one HTML file that opens anywhere, offline; equal decisions give equal bytes."""

from collections.abc import Mapping
from typing import Any

from pipeline.metrics.names import in_words, shown
from pipeline.reports.html import Tiles, render
from pipeline.reports.run_page import VERDICTS

ORDER = {"failed": 0, "met": 1, "told": 2}


def decision_page(decision: Mapping[str, Any]) -> str:
    """Return the page of a decision.

    Args:
        decision: The content of reports/register/decision.json.
    """
    checks = sorted(decision["checks"], key=lambda check: ORDER[check["verdict"]])
    return (
        render(
            "decision_page.html.j2",
            title=f"{decision['candidate']} {VERDICTS[decision['decision']]}",
            decision=decision,
            tiles=_tiles(decision),
            checks=[{**check, "drawn": _drawn(check["interval"])} for check in checks],
            rules=_rules(decision["rules"]),
            shown=shown,
        )
        + "\n"
    )


def _tiles(decision: Mapping[str, Any]) -> Tiles:
    verdicts = [check["verdict"] for check in decision["checks"]]
    return [
        (str(verdicts.count("met")), "checks met"),
        (str(verdicts.count("failed")), "checks failed"),
        (f"{decision['test_rows']:,}", "test rows that no model was made with"),
        (f"{decision['test_rows_left_out']:,}", "test rows left out"),
        (f"{decision['rules']['confidence']:.0%}", "confidence of the intervals"),
    ]


def _drawn(interval: Mapping[str, float] | None) -> dict[str, float] | None:
    """Return where an interval, its value and 0 stand on a line of 100 units; None where there is none."""
    if interval is None:
        return None
    left, right = min(interval["low"], 0.0), max(interval["high"], 0.0)
    width = (right - left) or 1.0
    places = {"zero": 0.0, **interval}
    return {name: round(2 + 96 * (number - left) / width, 2) for name, number in places.items()}


def _rules(rules: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what was demanded, by the words of the keys."""
    entries: dict[str, Any] = {"primary": in_words(rules["primary"]["name"])}
    entries |= {name: value for name, value in sorted(rules.items()) if name not in ("primary", "floors")}
    entries |= {f"floor {in_words(name)}": bound for name, bound in sorted((rules["floors"] or {}).items())}
    return [
        (in_words(name), "not demanded" if value is None else _text(value)) for name, value in entries.items()
    ]


def _text(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return in_words(value) if isinstance(value, str) else str(value)
