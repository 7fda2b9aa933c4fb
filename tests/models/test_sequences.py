"""What families do on texts and series, against NumPy and scikit-learn."""

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier

from pipeline.inference.backend import prepare_tensorflow
from pipeline.inference.keras_files import load_model, save_model
from pipeline.inputs.arrays import ModelInputs
from pipeline.inputs.specs import PAD, InputSpec, OutputSpec
from pipeline.inputs.train_data import TrainData
from pipeline.models import autoencoder, cnn, dense, linear, majority, naive, nearest, pca, rnn
from pipeline.models.layers.shapes import conv_output_lengths

prepare_tensorflow(2, 7)

import keras  # noqa: E402

CLASSES = OutputSpec(("a", "b", "c"), (5, 3, 2))
TWO = OutputSpec(("a", "b"), (6, 2))
NUMBERS = {"targets": ("x", "y"), "target_mean": (0.0, 0.0), "target_standard_deviation": (1.0, 1.0)}
FORECAST = OutputSpec(task="forecasting", horizon=5, target_channels=(2, 0), **NUMBERS)
REGRESSION = OutputSpec(task="regression", **NUMBERS)
RANDOM = np.random.default_rng(5)
SERIES = RANDOM.normal(size=(4, 9, 3)).astype(np.float32)


def seeded(build, *arguments, **settings):
    keras.utils.set_random_seed(3)
    return build(*arguments, **settings)


PADDED = {
    "cnn average": (cnn.build, {"head": "global_average"}),
    "cnn max": (cnn.build, {"head": "global_max", "activation": "tanh"}),
    "cnn strided": (
        cnn.build,
        {"head": "global_max", "filters": [4], "strides": 2, "convolutions_per_block": 2},
    ),
    "cnn side by side": (cnn.build, {"head": "global_max", "kernel_sizes": [2, 3], "side_by_side": True}),
    "cnn shortcuts": (
        cnn.build,
        {"head": "global_max", "filters": [4, 4], "shortcuts": True, "convolutions_per_block": 2},
    ),
    "rnn simple": (rnn.build, {"cell": "simple", "units": [6, 5]}),
    "rnn lstm": (rnn.build, {"cell": "lstm", "bidirectional": True}),
    "rnn gru attention": (rnn.build, {"attention": True, "bidirectional": True}),
    "autoencoder sequence": (autoencoder.build, {"kind": "sequence", "units": [6], "codes": 4}),
}


@pytest.mark.slow
@pytest.mark.parametrize(("build", "settings"), PADDED.values(), ids=PADDED)
@pytest.mark.parametrize("kind", ["series", "tokens"])
def test_padding_changes_nothing(build, settings, kind, tmp_path):
    """Eight steps are answered alike alone and with eight steps of padding behind, also after saving."""
    if kind == "series":
        short, padding = InputSpec("series", (8, 3)), np.full((4, 8, 3), PAD, np.float32)
        long, inputs = InputSpec("series", (16, 3), has_padding=True), SERIES[:, :8]
    else:
        short, padding = InputSpec("tokens", (8,), vocabulary_size=9), np.zeros((4, 8), np.int32)
        long, inputs = InputSpec("tokens", (16,), vocabulary_size=9), RANDOM.integers(1, 9, (4, 8), np.int32)
    alone = seeded(build, short, CLASSES, **settings)
    padded = seeded(build, long, CLASSES, **settings)
    for layer in alone.layers:  # by name: masks change the order in which Keras counts layers
        if layer.weights:
            padded.get_layer(layer.name).set_weights(layer.get_weights())
    expected = alone.predict_on_batch(inputs)
    together = np.concatenate([inputs, padding], axis=1)
    assert expected == pytest.approx(padded.predict_on_batch(together), abs=1e-5)
    save_model(padded, tmp_path / "model.keras")
    assert expected == pytest.approx(
        load_model(tmp_path / "model.keras").predict_on_batch(together), abs=1e-5
    )


@pytest.mark.parametrize("build", [cnn.build, rnn.build, autoencoder.build])
def test_an_empty_text_gets_an_answer(build):
    """A text without any known place is answered with finite probabilities."""
    model = seeded(build, InputSpec("tokens", (8,), vocabulary_size=9), CLASSES)
    probabilities = model.predict_on_batch(np.zeros((2, 8), np.int32))
    assert np.ones(2) == pytest.approx(probabilities.sum(axis=1), abs=1e-5)


def test_batches_are_normalised_by_real_steps_alone():
    """The moving mean after a training step is that of the steps, whatever padding stands behind them."""
    moved = []
    for steps in (9, 30):
        spec = InputSpec("series", (steps, 3), has_padding=True)
        model = seeded(cnn.build, spec, CLASSES, filters=[4], head="global_average", dropout=0.0)
        inputs = np.full((4, steps, 3), PAD, np.float32)
        inputs[:, :9] = SERIES
        model.compile("sgd", "sparse_categorical_crossentropy")
        model.train_on_batch(inputs, np.array([0, 1, 2, 0]))
        moved.append(np.asarray(model.get_layer("block_0_convolution_0_normalization").moving_mean))
    assert moved[0] == pytest.approx(moved[1], abs=1e-6)


def test_attention_is_the_mean_weighted_by_softmax():
    """NumPy gives the same from the states and the two kernels: softmax of v tanh(W h + b)."""
    model = seeded(rnn.build, InputSpec("series", (9, 3)), CLASSES, attention=True, units=[6])
    outputs = [model.get_layer(name).output for name in ("recurrent_0", "attended")]
    states, received = keras.Model(model.inputs, outputs).predict_on_batch(SERIES)
    kernel, bias = model.get_layer("attention").get_weights()
    scores = (np.tanh(states @ kernel + bias) @ model.get_layer("attention_score").get_weights()[0])[..., 0]
    weights = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    assert (weights[..., None] * states).sum(axis=1) == pytest.approx(received, abs=1e-5)


def test_side_features_join_the_last_state():
    """Late fusion: the layer before the fusion layers holds the state, the numbers and the embedded categories."""
    spec = InputSpec("series", (9, 3), num_side=2, categories=(3, 4))
    model = seeded(rnn.build, spec, CLASSES, units=[6], fusion_units=[10, 7])
    assert model.get_layer("joined").output.shape == (None, 6 + 2 + 2 * 8)
    assert [model.get_layer(f"fusion_{index}").units for index in (0, 1)] == [10, 7]
    assert model.get_layer("logits").input.shape == (None, 7)


def test_each_category_has_a_vector_of_its_own():
    """Ids of the second column begin behind those of the first: 3 + 4 rows, and none is shared."""
    spec = InputSpec("series", (9, 3), num_side=0, categories=(3, 4))
    model = seeded(linear.build, spec, CLASSES)
    rows = keras.Model(model.inputs, model.get_layer("category_ids").output)
    made = {"inputs": SERIES, "categories": np.array([[0, 0], [2, 0], [0, 3], [2, 3]], np.int32)}
    assert [[0, 3], [2, 3], [0, 6], [2, 6]] == rows.predict_on_batch(made).tolist()
    assert model.get_layer("of_categories").input_dim == 7


def test_kernels_side_by_side_or_one_size_per_block():
    """Side by side gives filters per size; one per block gives each block its own size; others are refused."""
    spec = InputSpec("tokens", (12,), vocabulary_size=9)
    beside = seeded(cnn.build, spec, CLASSES, filters=[5], kernel_sizes=[2, 3, 4], side_by_side=True)
    assert beside.get_layer("block_0_convolution_0").output.shape == (None, 12, 15)
    blocks = seeded(cnn.build, spec, CLASSES, filters=[4, 4], kernel_sizes=[7, 5])
    assert [(7,), (5,)] == [blocks.get_layer(f"block_{b}_convolution_0").kernel_size for b in (0, 1)]
    with pytest.raises(ValueError, match="Expected 2, one for each of filters"):
        cnn.build(spec, CLASSES, filters=[4, 4], kernel_sizes=[3])
    with pytest.raises(ValueError, match="Expected padding=same"):
        cnn.build(spec, CLASSES, kernel_sizes=[3], side_by_side=True, padding="valid")


@pytest.mark.parametrize("settings", [{}, {"padding": "valid"}, {"strides": 2}, {"pooling": "none"}])
def test_lengths_without_keras_are_those_of_keras(settings):
    """`conv_output_lengths` agrees with the real stack."""
    model = seeded(
        cnn.build, InputSpec("series", (30, 3)), CLASSES, filters=[2, 2], kernel_sizes=[5, 3], **settings
    )
    assert conv_output_lengths(30, [5, 3], **settings)[-1] == model.get_layer("flatten").input.shape[1]


RESIDUAL = {
    "cnn": (cnn.build, {}),
    "rnn": (rnn.build, {}),
    "dense": (dense.build, {}),
    "linear": (linear.build, {}),
    "linear per channel": (linear.build, {"per_channel": True}),
    "dense per channel": (dense.build, {"per_channel": True}),
}


@pytest.mark.parametrize(("build", "settings"), RESIDUAL.values(), ids=RESIDUAL)
def test_forecasts_from_the_last_value_follow_the_level(build, settings):
    """A series that lies higher by 1, 2, 3 in its channels is forecast higher by the 3 and 1 of its targets."""
    model = seeded(build, InputSpec("series", (9, 3)), FORECAST, last_value_residual=True, **settings)
    lower, higher = (model.predict_on_batch(SERIES + shift) for shift in (0, np.array([1, 2, 3], np.float32)))
    assert np.add(lower, [3, 1]) == pytest.approx(higher, abs=1e-4)
    with pytest.raises(ValueError, match="last_value_residual is for forecasts"):
        build(InputSpec("series", (9, 3)), CLASSES, last_value_residual=True)


def test_linear_per_channel_is_one_matrix_for_all_targets():
    """NumPy: each target is its own past times the same kernel, plus the same intercept."""
    model = seeded(linear.build, InputSpec("series", (9, 3)), FORECAST, per_channel=True)
    kernel, bias = model.get_layer("values").get_weights()
    expected = np.einsum("blt,lh->bht", SERIES[..., [2, 0]], kernel) + bias[:, None]
    assert expected == pytest.approx(model.predict_on_batch(SERIES), abs=1e-5)


@pytest.mark.parametrize("build", [linear.build, dense.build])
def test_per_channel_other_channels_do_not_matter(build, tmp_path):
    """A target is forecast from its own past and side features, whatever the others do; also after saving."""
    spec = InputSpec("series", (9, 3), num_side=2, categories=(3,))
    save_model(seeded(build, spec, FORECAST, per_channel=True), tmp_path / "model.keras")
    model = load_model(tmp_path / "model.keras")
    made = {
        "inputs": SERIES,
        "side": RANDOM.random((4, 2), np.float32),
        "categories": np.ones((4, 1), np.int32),
    }
    before = model.predict_on_batch(made)
    after = model.predict_on_batch({**made, "inputs": SERIES + np.array([5, 5, 0], np.float32)})
    assert np.array_equal(before[..., 0], after[..., 0])
    assert np.abs(before[..., 1] - after[..., 1]).min() > 0
    for name, other in (("side", made["side"] + 1), ("categories", made["categories"] * 2)):
        assert np.abs(model.predict_on_batch({**made, name: other}) - before).max() > 0
    with pytest.raises(ValueError, match="per_channel is for forecasts"):
        build(spec, CLASSES, per_channel=True)


def test_linear_on_a_bag_is_a_weighted_sum():
    """NumPy: sum of weight times vector per class, scaled, plus an intercept, then softmax."""
    spec = InputSpec("bag", (4,), vocabulary_size=10)
    model = seeded(linear.build, spec, CLASSES)
    ids, weights = RANDOM.integers(0, 10, (5, 4), np.int32), RANDOM.random((5, 4), np.float32)
    vectors = model.get_layer("ngram_vectors").get_weights()[0]
    logits = (vectors[ids] * weights[..., None]).sum(axis=1)
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    received = model.predict_on_batch({"inputs": ids, "weights": weights})
    assert expected == pytest.approx(received, abs=1e-5)


@pytest.mark.parametrize("season", [1, 2, 4, 9])
def test_naive_repeats_the_last_season(season):
    """Step h ahead is the value of the same place in the last season, target by target."""
    model = naive.build(InputSpec("series", (9, 3)), FORECAST, season=season)
    places = [9 - season + ahead % season for ahead in range(5)]
    assert np.array_equal(SERIES[:, places][..., [2, 0]], model.predict_on_batch(SERIES))


def test_naive_finds_its_season(tmp_path):
    """Series that repeat themselves after 4 steps: without a season the training windows find it."""
    rows = np.arange(60)
    steps = np.tile(RANDOM.normal(size=(4, 3)), (30, 1)).astype(np.float32)
    steps += RANDOM.normal(size=steps.shape, scale=0.05).astype(np.float32)
    past = np.stack([steps[row : row + 9] for row in rows])
    ahead = np.stack([steps[row + 9 : row + 14][:, [2, 0]] for row in rows])
    spec = InputSpec("series", (9, 3))
    inputs = ModelInputs(60, [lambda part: {"inputs": past[part]}], lambda part: ahead[part])
    model = naive.build(spec, FORECAST)
    assert {"season": 4} == naive.solve(model, TrainData(inputs, None, rows, rows, spec, FORECAST))
    save_model(model, tmp_path / "model.keras")
    known = naive.build(spec, FORECAST, season=4)
    received = load_model(tmp_path / "model.keras").predict_on_batch(SERIES)
    assert known.predict_on_batch(SERIES) == pytest.approx(received, abs=1e-6)


@pytest.mark.parametrize("season", [0, 10])
def test_naive_needs_a_season_within_the_history(season):
    """Nine steps hold no season of ten."""
    with pytest.raises(ValueError, match=r"Expected 1 to 9.*season="):
        naive.build(InputSpec("series", (9, 3)), FORECAST, season=season)


@pytest.mark.parametrize("spec", [CLASSES, TWO], ids=["three classes", "two classes"])
def test_nearest_is_that_of_scikit_learn(spec, tmp_path, monkeypatch):
    """With all weight on the nearest, classes of 200 series of unequal lengths are those of KNeighborsClassifier."""
    monkeypatch.setattr(nearest, "SHARPNESS", (1e5,))
    monkeypatch.setattr(nearest, "DOUBTS", (0.01,))
    random = np.random.default_rng(1)
    count = sum(spec.class_counts)
    series = random.normal(size=(200 + count, 7, 2)).astype(np.float32)
    series[::2, 5:] = PAD
    truth = random.integers(0, spec.num_classes, count)
    model = nearest.build(InputSpec("series", (7, 2), has_padding=True), spec)
    nearest.fit_closed_form(model, series[:count], truth)
    save_model(model, tmp_path / "model.keras")
    answers = load_model(tmp_path / "model.keras").predict_on_batch(series[count:])
    received = answers.argmax(axis=1) if spec is CLASSES else (answers[:, 0] > 0.5).astype(int)
    flat = np.where(series == np.float32(PAD), 0, series).reshape(len(series), -1)
    reference = KNeighborsClassifier(1).fit(flat[:count], truth)
    assert reference.predict(flat[count:]).tolist() == received.tolist()


def test_nearest_counts_neighbours_and_is_never_certain():
    """Where a third of the labels is wrong many neighbours share the vote; log loss is below that of class shares."""
    random = np.random.default_rng(5)
    centres = random.normal(size=(2, 7, 2)) * 0.8
    truth = np.arange(200) % 2
    series = (centres[truth] + random.normal(size=(200, 7, 2))).astype(np.float32)
    said = np.where(random.random(200) < 0.25, 1 - truth, truth)
    model = nearest.build(InputSpec("series", (7, 2)), OutputSpec(("a", "b"), (50, 50)))
    facts = nearest.fit_closed_form(model, series[:100], said[:100])
    probabilities = model.predict_on_batch(series[100:])[:, 0]
    of_truth = np.where(said[100:] == 1, probabilities, 1 - probabilities)
    assert 0.02 < probabilities.min() < probabilities.max() < 0.98
    assert -np.log(of_truth).mean() < np.log(2)
    reference = KNeighborsClassifier(1).fit(series[:100].reshape(100, -1), said[:100])
    alone = reference.score(series[100:].reshape(100, -1), said[100:])
    assert np.mean((probabilities > 0.5) == said[100:]) > alone
    assert facts["sharpness"] < nearest.SHARPNESS[-1]


def test_nearest_leaves_a_whole_group_out_when_it_asks():
    """Each series stands there twice: copies that are a group say nothing of how often neighbours are right."""
    random = np.random.default_rng(6)
    series = np.repeat(random.normal(size=(40, 7, 2)), 2, axis=0).astype(np.float32)
    said = np.repeat(random.integers(0, 2, 40), 2)
    facts = []
    for groups in (None, np.repeat(np.arange(40), 2)):
        model = nearest.build(InputSpec("series", (7, 2)), OutputSpec(("a", "b"), (40, 40)))
        facts.append(nearest.fit_closed_form(model, series, said, groups))
    assert facts[0]["right_of_others"] == 1.0
    assert facts[1]["right_of_others"] < 0.8
    assert facts[1]["doubt"] > facts[0]["doubt"]


def test_nearest_wants_all_training_series():
    """Fewer series than counted, or none of the classes, is a mistake."""
    model = nearest.build(InputSpec("series", (9, 3)), CLASSES)
    with pytest.raises(ValueError, match=r"Expected 10\. Received: 4"):
        nearest.fit_closed_form(model, SERIES, np.zeros(4, int))
    with pytest.raises(ValueError, match="targets=none"):
        nearest.fit_closed_form(model, np.repeat(SERIES, 3, axis=0)[:10], None)


@pytest.mark.parametrize("level", [0.0, 1000.0])
def test_pca_is_that_of_scikit_learn(level, tmp_path):
    """Reconstructions from 3 components agree, near 0 and far from it, also after saving."""
    random = np.random.default_rng(1)
    windows = (random.normal(size=(60, 4)) @ random.normal(size=(4, 12)) + level).astype(np.float32)
    windows = windows.reshape(60, 6, 2)
    model = pca.build(InputSpec("series", (6, 2)), OutputSpec(task="anomaly"), codes=3)
    pca.fit_closed_form(model, windows, None)
    save_model(model, tmp_path / "model.keras")
    received = load_model(tmp_path / "model.keras").predict_on_batch(windows)
    reference = PCA(3, svd_solver="full").fit(windows.reshape(60, -1))
    flat = windows.reshape(60, -1)
    expected = reference.inverse_transform(reference.transform(flat)).reshape(60, 6, 2)
    assert expected == pytest.approx(received, abs=1e-3 if level else 1e-5)


def test_pca_of_fewer_series_than_codes_brings_them_back():
    """Three series span two directions; the codes beyond stay 0 and disturb nothing."""
    model = pca.build(InputSpec("series", (9, 3)), OutputSpec(task="anomaly"), codes=8)
    pca.fit_closed_form(model, SERIES[:3])
    assert SERIES[:3] == pytest.approx(model.predict_on_batch(SERIES[:3]), abs=1e-4)
    assert 6 == int((np.abs(model.get_layer("codes").get_weights()[0]).max(axis=0) == 0).sum())


def test_majority_of_two_classes_and_of_numbers():
    """Counts 6 and 2 give 0.25 for the second class; the mean of scaled targets is 0."""
    series = InputSpec("series", (9, 3), has_padding=True)
    inputs = np.full((4, 9, 3), PAD, np.float32)
    assert np.full((4, 1), 0.25) == pytest.approx(majority.build(series, TWO).predict_on_batch(inputs))
    assert np.array_equal(np.zeros((4, 2)), majority.build(series, REGRESSION).predict_on_batch(inputs))
    assert np.array_equal(np.zeros((4, 5, 2)), majority.build(series, FORECAST).predict_on_batch(inputs))


@pytest.mark.parametrize("build", [cnn.build, rnn.build, dense.build, linear.build, autoencoder.build])
def test_tanh_keeps_numbers_within_one_deviation(build):
    """`output_activation: tanh` bounds answers to a hundredfold input; linear ones leave [-1, 1]."""
    bounded, free = (
        seeded(build, InputSpec("series", (9, 3)), REGRESSION, output_activation=kind)
        for kind in ("tanh", "linear")
    )
    unbounded = free.predict_on_batch(SERIES * 100)
    assert np.tanh(unbounded) == pytest.approx(bounded.predict_on_batch(SERIES * 100), abs=1e-5)


def test_word_vectors_are_where_the_model_starts(tmp_path):
    """The rows of the file are the first vectors; another width is refused."""
    vectors = RANDOM.normal(size=(9, 5)).astype(np.float32)
    np.save(tmp_path / "vectors.npy", vectors)
    spec = InputSpec("tokens", (8,), vocabulary_size=9, vectors_path=str(tmp_path / "vectors.npy"))
    for build in (cnn.build, rnn.build):
        layer = seeded(build, spec, CLASSES, embedding_units=5).get_layer("token_vectors")
        assert np.array_equal(vectors, layer.get_weights()[0])
        assert layer.trainable
    with pytest.raises(ValueError, match="Set embedding_units to 5"):
        cnn.build(spec, CLASSES, embedding_units=6)
    built = seeded(autoencoder.build, spec, CLASSES, embedding_units=5)
    assert np.array_equal(vectors, built.get_layer("encoder").get_layer("token_vectors").get_weights()[0])


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(16, 1), (9, 3), (7, 2)])
@pytest.mark.parametrize("kind", ["dense", "conv", "sequence"])
def test_a_series_comes_back_in_its_shape_and_can_be_learnt(kind, shape):
    """Dense, conv or recurrent, even or odd lengths: four sines are brought back better than by their mean."""
    phases = np.array([0.0, 1.0, 2.0, 3.0])[:, None, None]
    series = np.sin(np.arange(shape[0])[:, None] + np.arange(shape[1]) + phases).astype(np.float32)
    model = seeded(
        autoencoder.build_autoencoder,
        InputSpec("series", shape),
        kind=kind,
        codes=4,
        units=[24],
        filters=[8, 8],
        activation="tanh",
    )
    model.compile(keras.optimizers.Adam(0.02), "mse")
    for _step in range(150):
        error = model.train_on_batch(series, series)
    assert error < series.var(axis=0).mean() / 4


@pytest.mark.parametrize("kind", ["dense", "conv", "sequence"])
def test_a_text_comes_back_as_probabilities_of_words(kind):
    """One probability per entry of the vocabulary, summing to 1, whatever the encoder."""
    spec = InputSpec("tokens", (8,), vocabulary_size=9)
    model = seeded(autoencoder.build_autoencoder, spec, kind=kind, codes=4, units=[6], filters=[5])
    probabilities = model.predict_on_batch(RANDOM.integers(0, 9, (4, 8), np.int32))
    assert (4, 9) == probabilities.shape
    assert np.ones(4) == pytest.approx(probabilities.sum(axis=1), abs=1e-5)


@pytest.mark.parametrize("kind", ["dense", "sequence"])
def test_rows_of_an_image_can_be_encoded_one_after_the_other(kind):
    """Kind `sequence` reads an image row by row, and brings back pixels in [0, 1] in its shape."""
    spec = InputSpec("image", (6, 5, 3), (0.3,) * 3, (0.2,) * 3)
    model = seeded(autoencoder.build_autoencoder, spec, kind=kind, codes=4, units=[6])
    pixels = model.predict_on_batch(RANDOM.integers(0, 256, (2, 6, 5, 3), dtype=np.uint8))
    assert (2, 6, 5, 3) == pixels.shape
    assert 0 <= pixels.min() <= pixels.max() <= 1


@pytest.mark.parametrize(("codes", "side"), [(9, 3), (10, 4), (1, 1)])
def test_codes_can_be_read_as_a_small_image(codes, side):
    """`classifier: cnn` lays codes out row by row in the smallest square, with zeros behind."""
    spec = InputSpec("series", (9, 3))
    model = seeded(autoencoder.build, spec, CLASSES, codes=codes, classifier="cnn", classifier_units=[4])
    outputs = [model.get_layer(name).output for name in ("codes_normalization", "code_image")]
    flat, image = keras.Model(model.inputs, outputs).predict_on_batch(SERIES)
    expected = np.zeros((4, side * side), np.float32)
    expected[:, :codes] = flat
    assert np.array_equal(expected.reshape(4, side, side, 1), image)


def test_a_recurrent_autoencoder_needs_layers():
    """Kind `sequence` without units has nothing to read with."""
    with pytest.raises(ValueError, match="at least one width in units"):
        autoencoder.build_autoencoder(InputSpec("series", (9, 3)), kind="sequence", units=[])
