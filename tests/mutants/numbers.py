"""Numbers people read or a gate decides by: metrics, statistics, leaks, reduction."""

from tests.mutants.mutant import Mutant

CLASSIFICATION = "pipeline/metrics/classification.py"
VALUES = "pipeline/metrics/values.py"
COPIES = "pipeline/leaks/copies.py"
COLUMNS = "pipeline/leaks/columns.py"
OF_CLASSES = ("tests/metrics/test_classification.py",)
OF_VALUES = ("tests/metrics/test_values.py",)
OF_COPIES = ("tests/leaks/test_copies_stretches.py",)
OF_COLUMNS = ("tests/leaks/test_columns_single_score.py",)
OF_REDUCTION = ("tests/reduction/test_methods.py", "tests/reduction/test_methods_neighbourhoods.py")
OF_SAMPLES = ("tests/metrics/test_two_samples.py",)

MUTANTS = (
    Mutant(
        "ties of the ROC curve",
        CLASSIFICATION,
        '    not_higher = np.searchsorted(scores[order], scores[positive], side="right")\n',
        '    not_higher = np.searchsorted(scores[order], scores[positive], side="left")\n',
        OF_CLASSES,
    ),
    Mutant(
        "classes without an example in a mean",
        CLASSIFICATION,
        "    defined = ~np.isnan(values)\n    return ratio(np.where(defined, values, 0.0).sum(axis=0), "
        "defined.sum(axis=0).astype(float))",
        "    return np.asarray(np.where(np.isnan(values), 0.0, values).mean(axis=0))",
        OF_CLASSES,
    ),
    Mutant(
        "the smallest probability of a log loss",
        CLASSIFICATION,
        "np.clip(of_truth, SMALLEST_PROBABILITY, 1.0)",
        "np.clip(of_truth, 1e-15, 1.0)",
        OF_CLASSES,
    ),
    Mutant(
        "probabilities that add up to 1",
        CLASSIFICATION,
        "(np.abs(probabilities.sum(axis=1) - 1) > SUM_TOLERANCE) | (probabilities < 0).any(axis=1)",
        "(probabilities < 0).any(axis=1)",
        OF_CLASSES,
    ),
    Mutant(
        "negative probabilities",
        CLASSIFICATION,
        "(np.abs(probabilities.sum(axis=1) - 1) > SUM_TOLERANCE) | (probabilities < 0).any(axis=1)",
        "np.abs(probabilities.sum(axis=1) - 1) > SUM_TOLERANCE",
        OF_CLASSES,
    ),
    Mutant(
        "bins that are closed above",
        CLASSIFICATION,
        "np.ceil(confidence * num_bins).astype(np.int64) - 1",
        "np.floor(confidence * num_bins).astype(np.int64)",
        OF_CLASSES,
    ),
    Mutant(
        "negative weights of examples",
        CLASSIFICATION,
        "(sums <= 0).any() or weight.min() < 0:",
        "(sums <= 0).any():",
        OF_CLASSES,
    ),
    Mutant(
        "the shift before a variance is taken",
        VALUES,
        "    truth, predicted = truth - truth.mean(axis=(0, 1)), predicted - truth.mean(axis=(0, 1))\n",
        "",
        OF_VALUES,
    ),
    Mutant(
        "the root of a squared error",
        VALUES,
        "np.sqrt(_mean_per_target(squares, weight))",
        "_mean_per_target(squares, weight)",
        OF_VALUES,
    ),
    Mutant(
        "squares of a scale",
        VALUES,
        "axis=1) / divisor**2\n",
        "axis=1) / divisor\n",
        OF_VALUES,
    ),
    Mutant(
        "missing values of a naive error",
        VALUES,
        "    known = ~np.isnan(distances)\n",
        "    known = np.ones(distances.shape, bool)\n",
        OF_VALUES,
    ),
    Mutant(
        "draws behind two samples",
        "pipeline/metrics/two_samples.py",
        "    sizes = draws or (len(first), len(second))\n",
        "    sizes = (len(first), len(second))\n",
        OF_SAMPLES,
    ),
    Mutant(
        "rare classes counted together",
        "pipeline/metrics/two_samples.py",
        "    while counts.shape[1] > 2 and",
        "    while counts.shape[1] > 10**6 and",
        OF_SAMPLES,
    ),
    Mutant(
        "two rare classes compared exactly",
        "pipeline/metrics/two_samples.py",
        "        if counts.shape[1] == 2 and",
        "        if counts.shape[1] == 1 and",
        OF_SAMPLES,
    ),
    Mutant(
        "PCA's limit by pixels",
        "pipeline/reduction/methods.py",
        '    solver = "covariance_eigh" if train.shape[1] <= COVARIANCE_PIXELS else "randomized"\n',
        '    solver = "randomized"\n',
        OF_REDUCTION,
    ),
    Mutant(
        "the sign of a probe's classes",
        "pipeline/reduction/methods.py",
        "        probabilities[:, model.classes_] = model.predict_proba(codes)\n",
        "        probabilities[:, : len(model.classes_)] = model.predict_proba(codes)\n",
        OF_REDUCTION,
    ),
    Mutant(
        "shapes of a reconstruction",
        "pipeline/reduction/methods.py",
        "    if pixels.shape != reconstruction.shape:",
        "    if pixels.size < 0:",
        OF_REDUCTION,
    ),
    Mutant(
        "what a series does all the time",
        COPIES,
        "            habits.append(hashes[counts >= enough])\n",
        "            habits.append(hashes[counts < 0])\n",
        OF_COPIES,
    ),
    Mutant(
        "how much a stretch must say",
        COPIES,
        "    needed = np.log2(pairs) + SPARE_BITS\n",
        "    needed = 0.0\n",
        OF_COPIES,
    ),
    Mutant(
        "negative zero in a hash of steps",
        COPIES,
        "(chunk + np.float32(0)).view(np.uint32)",
        "np.ascontiguousarray(chunk).view(np.uint32)",
        OF_COPIES,
    ),
    Mutant(
        "held-out rows of a column's score",
        COLUMNS,
        "    answers = [_means(codes, targets, train)[held]]\n",
        "    answers = [_means(codes, targets, train | held)[held]]\n",
        OF_COLUMNS,
    ),
    Mutant(
        "the curve of a column",
        COLUMNS,
        "                    _curve(numbers, codes, targets, train & present),\n",
        "",
        OF_COLUMNS,
    ),
    Mutant(
        "rows that an exact sum was not fitted on",
        COLUMNS,
        "    error = np.abs(table @ weights[:-1] + weights[-1] - y).max()\n",
        "    error = np.abs(table @ weights[:-1] + weights[-1] - y)[fit].max()\n",
        OF_COLUMNS,
    ),
)
