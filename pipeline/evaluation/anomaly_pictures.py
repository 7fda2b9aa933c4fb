"""Pictures of a search for anomalies."""

from pathlib import Path

import numpy as np

from pipeline.data.samples import read_sample_rows
from pipeline.evaluation.anomaly_tables import measures_of_anomalies, series_results
from pipeline.evaluation.judgement import Judgement
from pipeline.reports.style import save
from pipeline.reports.timelines import Story, anomaly_timelines
from pipeline.runtime import paths

MOST_SERIES = 12
"""In one picture; those with the most to tell."""


def draw_anomalies(folder: Path, judgement: Judgement) -> None:
    """Draw timelines.png: scores, alarms and labelled anomalies of the chosen candidate, series by series."""
    chosen = judgement.choice.chosen
    results = series_results(judgement, chosen)
    ranked = sorted(results, key=lambda item: -(item.anomalies + item.false_alarms))[:MOST_SERIES]
    names = {item.series for item in ranked}
    stories = [story for story in _stories(judgement) if story.name in names]
    save(anomaly_timelines(stories, f"{chosen} on test"), folder / "timelines.png")


def _stories(judgement: Judgement) -> list[Story]:
    measures = measures_of_anomalies(judgement)
    timeline, scores = measures.timeline, judgement.judged(judgement.choice.chosen)
    events = measures.events(scores)
    ends = timeline.starts[events.raised[:, 1]] + timeline.length
    spans = list(zip(timeline.starts[events.raised[:, 0]].tolist(), ends.tolist(), strict=True))
    of_event = timeline.series[events.raised[:, 0]]
    payload, samples = np.load(paths.PAYLOAD_NPY, mmap_mode="r"), read_sample_rows()
    stories = []
    for series in np.unique(timeline.series):
        own = timeline.windows_of(int(series))
        first, end = int(timeline.starts[own][0]), int(timeline.starts[own][-1]) + timeline.length
        start = samples.starts[series]
        raised = [
            (span, bool(false))
            for span, false, at in zip(spans, events.false, of_event, strict=True)
            if at == series
        ]
        stories.append(
            Story(
                name=timeline.names[series],
                steps=timeline.starts[own],
                scores=scores[own],
                values=np.asarray(payload[start + first : start + end, 0]),
                first_step=first,
                labelled=[item[1:] for item, _ in timeline.touched() if item[0] == series],
                hits=[span for span, false in raised if not false],
                false_alarms=[span for span, false in raised if false],
            )
        )
    return stories
