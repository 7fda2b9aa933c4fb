"""What is fitted and travels with a model: tokens and n-grams, scales, categories, the calendar.

Imports `data` and `runtime`, never a room above or beside it; whatever is fitted is a frozen value with a
JSON state. Begin with `pipeline/preprocessing/series.py` or `pipeline/preprocessing/texts.py`.
"""
