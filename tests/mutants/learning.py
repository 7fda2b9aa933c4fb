"""Training: batches, optimizers, models, checkpoints, and what models read."""

from tests.mutants.mutant import Mutant

FIT = "pipeline/training/fit.py"
BATCHES = "pipeline/training/batches.py"
OPTIMIZERS = "pipeline/training/optimizers.py"
OF_FIT = ("tests/training/test_fit.py",)
OF_BATCHES = ("tests/training/test_batches.py",)
OF_AUGMENTATION = ("tests/training/test_batches_augment.py",)
OF_OPTIMIZERS = ("tests/training/test_optimizers.py",)
OF_SCHEDULES = ("tests/training/test_optimizers_schedules.py",)

MUTANTS = (
    Mutant(
        "the best epoch's weights",
        FIT,
        '            assign(self.model.weights, self.best_weights, "best weights")\n',
        "            pass\n",
        OF_FIT,
    ),
    Mutant(
        "the direction of the monitor",
        FIT,
        "    return value < best if lower_is_better(monitor) else value > best\n",
        "    return value < best\n",
        OF_FIT,
    ),
    Mutant(
        "the last of the best epochs",
        "pipeline/selection/refit.py",
        '    return int(history[tied[-1]]["epoch"])\n',
        '    return int(history[curve.argmin()]["epoch"])\n',
        ("tests/selection/test_out_of_fold.py::test_one_lucky_epoch_does_not_end_the_refit",),
    ),
    Mutant(
        "a training that was longer already",
        FIT,
        "        if progress.epoch > last_epoch:\n",
        "        if progress.epoch < 0:\n",
        OF_FIT,
    ),
    Mutant(
        "the optimizer in a checkpoint",
        FIT,
        '        assign(self.model.optimizer.variables, groups["optimizer"], "optimizer variables")\n',
        "",
        OF_FIT,
    ),
    Mutant(
        "shapes of a checkpoint's arrays",
        FIT,
        "    if wanted != given:\n",
        "    if len(wanted) != len(given):\n",
        ("tests/training/test_fit_checkpoint.py", "tests/training/test_fit.py"),
    ),
    Mutant(
        "averaged weights while validating",
        FIT,
        "            self.model.optimizer.finalize_variable_values(self.model.trainable_variables)\n",
        "            pass\n",
        OF_FIT,
    ),
    Mutant(
        "a model set back before the next fold",
        "pipeline/training/epochs.py",
        "            variable.assign(value)\n",
        "            pass\n",
        ("tests/training/test_epochs.py",),
    ),
    Mutant(
        "a call that lasts no longer than it may",
        "pipeline/training/epochs.py",
        "fitting = steps * CALL_SECONDS",
        "fitting = CALL_SECONDS",
        ("tests/training/test_epochs.py::test_a_call_lasts_as_long_as_it_may",),
    ),
    Mutant(
        "padding that teaches a recurrent layer nothing",
        "pipeline/training/fused_recurrence.py",
        "projected = [tf.where(here, value, 0.0) for value in projected]",
        "projected = list(projected)",
        ("tests/training/test_fused_recurrence.py::test_a_sequence_is_read_as_by_keras",),
    ),
    Mutant(
        "another order each epoch",
        BATCHES,
        "            generator = np.random.default_rng([self.seed, number])\n",
        "            generator = np.random.default_rng([self.seed, 0])\n",
        OF_BATCHES,
    ),
    Mutant(
        "augmentation of each batch by itself",
        BATCHES,
        "np.random.default_rng([self.seed, number, index + 1, self.rank])",
        "np.random.default_rng([self.seed, number, 1, self.rank])",
        (*OF_BATCHES, *OF_AUGMENTATION),
    ),
    Mutant(
        "the last and smaller batch",
        BATCHES,
        "        return -(-len(self.rows) // self.batch_size)\n",
        "        return max(1, len(self.rows) // self.batch_size)\n",
        OF_BATCHES,
    ),
    Mutant(
        "mirroring every other time",
        BATCHES,
        "    mirrored = generator.random(len(images)) < 0.5\n",
        "    mirrored = generator.random(len(images)) < 2.0\n",
        OF_AUGMENTATION,
    ),
    Mutant(
        "black where a shifted image ends",
        BATCHES,
        "    padded = np.pad(images, ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0)))\n",
        '    padded = np.pad(images, ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0)), mode="edge")\n',
        OF_AUGMENTATION,
    ),
    Mutant(
        "weight decay of kernels alone",
        OPTIMIZERS,
        "    optimizer.exclude_from_weight_decay(var_names=NOT_DECAYED)\n",
        "",
        OF_OPTIMIZERS,
    ),
    Mutant(
        "Nesterov momentum",
        OPTIMIZERS,
        "nesterov=momentum > 0",
        "nesterov=False",
        OF_OPTIMIZERS,
    ),
    Mutant(
        "the norm of the whole gradient",
        OPTIMIZERS,
        '        "global_clipnorm": clip_norm or None,\n',
        '        "clipnorm": clip_norm or None,\n',
        OF_OPTIMIZERS,
    ),
    Mutant(
        "the warm-up of a cosine",
        OPTIMIZERS,
        "    if warmup == 0:\n",
        "    if warmup >= 0:\n",
        OF_SCHEDULES,
    ),
    Mutant(
        "steps of a step schedule",
        OPTIMIZERS,
        'staircase=name == "step"',
        "staircase=False",
        OF_SCHEDULES,
    ),
    Mutant(
        "padding of the nearest series",
        "pipeline/models/nearest.py",
        "    flat = np.where(inputs == np.float32(PAD), np.float32(0), inputs).reshape(len(inputs), -1)\n",
        "    flat = inputs.reshape(len(inputs), -1)\n",
        ("tests/models/test_sequences.py", "tests/models/test_families.py"),
    ),
    Mutant(
        "the mean in a principal component's code",
        "pipeline/models/pca.py",
        "    codes.set_weights([components.T, -components @ mean])\n",
        "    codes.set_weights([components.T, 0 * (components @ mean)])\n",
        ("tests/models/test_families.py", "tests/models/test_sequences.py"),
    ),
    Mutant(
        "padding behind the end of a series",
        "pipeline/inputs/arrays.py",
        "    batch = np.full((len(parts), max_length, parts[0].shape[1]), PAD, np.float32)\n",
        "    batch = np.zeros((len(parts), max_length, parts[0].shape[1]), np.float32)\n",
        ("tests/inputs/test_train_data.py", "tests/inputs/test_from_state.py"),
    ),
    Mutant(
        "numbers made on demand that are not finite",
        "pipeline/inputs/arrays.py",
        "        if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():",
        "        if np.issubdtype(array.dtype, np.floating) and np.isposinf(array).all():",
        OF_BATCHES,
    ),
)
