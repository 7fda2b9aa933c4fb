"""What keeps a model file, and what comes out of it, honest."""

from tests.mutants.mutant import Mutant

MUTANTS = (
    Mutant(
        "digest of a model file",
        "pipeline/inference/keras_files.py",
        "    _check_digest(content, path, sha256)\n",
        "",
        ("tests/inference/test_keras_files.py::test_a_flipped_bit_anywhere_is_found_by_the_digest",),
    ),
    Mutant(
        "the list of classes that a model may have",
        "pipeline/inference/keras_files.py",
        "    config = parse_config(members[CONFIG], path)\n",
        "    config = json.loads(members[CONFIG])\n",
        ("tests/inference/test_keras_files.py::test_foreign_code_in_the_configuration_is_refused",),
    ),
    Mutant(
        "refusal to save weights of NaN",
        "pipeline/inference/keras_files.py",
        "    if broken:\n        raise ValueError(",
        "    if False:\n        raise ValueError(",
        ("tests/inference/test_keras_files.py::test_weights_that_are_not_finite_are_never_saved",),
    ),
    Mutant(
        "comparison of a saved model's weights with the file of them",
        "pipeline/inference/keras_files.py",
        "    if missing:\n",
        "    if missing < 0:\n",
        ("tests/faults/test_sweep.py::test_sample_of_faults_tears_nothing_and_leaves_nothing[keras]",),
    ),
    Mutant(
        "sizes of arrays against what their headers say",
        "pipeline/evaluation/golden.py",
        "    if held != declared:",
        "    if held < 0:",
        ("tests/evaluation/test_golden.py",),
    ),
    Mutant(
        "finite probabilities",
        "pipeline/metrics/classification.py",
        "    if not np.isfinite(probabilities).all():",
        "    if np.isposinf(probabilities).any():",
        ("tests/metrics/test_classification.py::test_broken_arguments_are_refused",),
    ),
    Mutant(
        "finite predictions and weights behind them",
        "pipeline/inference/prediction.py",
        "for array in [predictions, *model.get_weights()]):",
        "for array in [predictions]):",
        ("tests/training/test_fit.py::test_healthy_looking_predictions_of_broken_weights_are_refused",),
    ),
    Mutant(
        "finite inputs of predictions",
        "pipeline/inference/prediction.py",
        "    require_finite(inputs, rows)\n    batch_size",
        "    batch_size",
        ("tests/training/test_fit.py::test_predictions_from_broken_inputs_are_refused",),
    ),
    Mutant(
        "finite weights while training",
        "pipeline/training/fit.py",
        "    if broken_weights:",
        "    if broken_weights < 0:",
        ("tests/training/test_fit.py::test_nan_weights_behind_healthy_metrics_are_noticed",),
    ),
    Mutant(
        "finite scores of a search",
        "pipeline/tuning/trials.py",
        "if value is not None and not math.isfinite(value)]",
        "if value is not None and math.isnan(value)]",
        ("tests/wrong_pass/test_search.py",),
    ),
    Mutant(
        "the metric's existence on a bootstrap's resamples",
        "pipeline/metrics/intervals.py",
        "    if not np.isfinite(value) or undefined > largest_undefined_share:",
        "    if not np.isfinite(value):",
        (
            "tests/metrics/test_intervals.py",
            "tests/gate/test_decision.py::test_a_metric_that_does_not_exist_refuses",
        ),
    ),
    Mutant(
        "gates of an LSTM in the order of ONNX",
        "pipeline/export/onnx_layers.py",
        '"LSTM": ("LSTM", (0, 3, 1, 2)),',
        '"LSTM": ("LSTM", (0, 1, 2, 3)),',
        ("tests/export/test_onnx_model.py::test_every_family_answers_as_keras_does",),
    ),
    Mutant(
        "the odd place of padding behind",
        "pipeline/export/onnx_layers.py",
        "        before.append(missing // 2)\n        behind.append(missing - missing // 2)",
        "        before.append(missing - missing // 2)\n        behind.append(missing // 2)",
        ("tests/export/test_onnx_model.py::test_a_convolution_pads_as_tensorflow_does",),
    ),
    Mutant(
        "golden answers of the exported model",
        "pipeline/evaluation/golden.py",
        "    _require_golden(answers_of(model, folder, arrays), expected, folder, EXPORTED_TOLERANCE)\n",
        "",
        ("tests/evaluation/test_exported.py::test_a_model_that_answers_otherwise_is_not_served",),
    ),
    Mutant(
        "a refused record beside answered ones",
        "pipeline/serving/scorer.py",
        "                places.append(place)\n",
        "                places.append(len(places))\n",
        ("tests/serving/test_scorer.py::test_malformed_records_are_refused_and_the_others_answered",),
    ),
)
