"""Numbers and how sure they are: metrics of classes, values and anomalies, intervals, paired tests.

Imports `data` and `runtime` at most, never a room above or beside it; a metric is a function of `y_true` and
`y_pred`, and weights. Begin with `pipeline/metrics/classification.py`, then `pipeline/metrics/intervals.py`.
"""
