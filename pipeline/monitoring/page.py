"""The page of a log: drift, distributions beside the reference, how it did over time, and what labels say."""

import base64
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.metrics.names import metric_words
from pipeline.monitoring.found import Watched, beside_metrics, beside_rows, interval_words
from pipeline.monitoring.reference import block_from
from pipeline.reports.html import Fact, Picture, Tiles, made_fact, render
from pipeline.reports.live_charts import drift_chart, names_chart, numbers_chart, time_chart
from pipeline.reports.style import save_figure
from pipeline.runtime import processes
from pipeline.runtime.files import write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_SHOWN = 8
"""Distributions that are drawn, those that moved most first."""


DRIFT, OVER_TIME = "Drift beside what chance does", "Over time"
TOLD = {
    DRIFT: "A bar that is longer than its mark differs by more than chance would let it.",
    OVER_TIME: "What was answered, how sure, and how fast, from the first record to the last.",
}
"""How a picture is read."""
BESIDE = "What came to the server beside what the model knows from its training or test rows."


def write_page(path: Path, watched: Watched) -> None:
    """Write what was found as one HTML file that opens offline.

    Args:
        path: The file.
        watched: What was found.
    """
    write_text(path, page_of(watched))


def page_of(watched: Watched) -> str:
    """Return the page."""
    content, paper = watched.content, watched.seen.paper
    total = content["total"]
    tiles: Tiles = [(f"{watched.seen.rows:,}", "records"), (f"{total['refused']:,}", "refused")]
    if total["p99_milliseconds"] is not None:
        tiles += [(f"{total[f'{name}_milliseconds']:.3g} ms", name) for name in ("p50", "p99")]
    if total["confidence"] is not None:
        tiles.append((f"{total['confidence']:.3f}", "mean confidence"))
    if total["alarm_share"] is not None:
        tiles.append((f"{total['alarm_share']:.2%}", "alarms"))
    metrics = [
        {
            "name": metric_words(name),
            "live": interval_words(one["live"]),
            "test": interval_words(one["test"]) if one["test"] else "",
        }
        for name, one in content.get("metrics", {}).items()
    ]
    return render(
        "watch.html.j2",
        facts=[
            Fact("model", f"{paper.called}, sha256 {paper.digest[:12]}"),
            Fact("records", f"{content['from']} to {content['to']}" if content.get("from") else "none"),
            made_fact(processes.now()),
        ],
        called=paper.called,
        content=content,
        quiet=watched.quiet and not watched.untold,
        untold=str(watched.untold or ""),
        tiles=tiles,
        metrics=metrics,
        beside=[
            {
                "title": f"The {one['role']} {one['called']}",
                "role": one["role"],
                "rows": [*beside_rows(one), *one["notes"]],
                "metrics": [
                    {"name": metric_words(name), **told} for name, told in beside_metrics(one).items()
                ],
            }
            for one in content["beside"]
        ],
        pictures=[
            Picture(title, TOLD.get(title, BESIDE), _as_png(figure)) for title, figure in _pictures(watched)
        ],
    )


def _as_png(figure: "Figure") -> str:
    with tempfile.TemporaryDirectory(prefix="millrace-") as folder:
        path = Path(folder) / "figure.png"
        save_figure(figure, path)
        return base64.b64encode(path.read_bytes()).decode()


def _pictures(watched: Watched) -> list[tuple[str, "Figure"]]:
    content = watched.content
    found: list[tuple[str, Figure]] = []
    if content["drift"]:
        found.append((DRIFT, drift_chart(content["drift"])))
    if len(content["over_time"]) > 1:
        found.append((OVER_TIME, time_chart(content["over_time"])))
    return found + _distributions(watched)


def _distributions(watched: Watched) -> list[tuple[str, "Figure"]]:
    seen = watched.seen
    if seen.train is None or seen.test is None:
        return []
    pairs = [
        (block_from(seen.paper.reference[name]), block)
        for name, block in (("train", seen.train), ("test", seen.test))
    ]
    found: list[tuple[str, Figure]] = []
    for one in watched.content["drift"]:
        if len(found) == MOST_SHOWN:
            break
        what = one["what"]
        for known, served in pairs:
            if what in known.counts:
                found.append(
                    (what, numbers_chart(what, known.edges[what], known.counts[what], served.counts[what]))
                )
            elif what in known.names:
                found.append((what, names_chart(what, known.names[what], served.names[what])))
    return found
