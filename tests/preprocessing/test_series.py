"""Series without gaps and to scale, against pandas and NumPy."""

import json

import numpy as np
import pandas as pd
import pytest

from pipeline.inputs.arrays import padded
from pipeline.inputs.specs import PAD
from pipeline.preprocessing import series as preprocessing_series
from pipeline.preprocessing.series import carry_forward, fit_scaler, scaler_of, write_series

NAN = np.nan


def gappy(steps=500, channels=3, seed=0):
    """Return random walks of which a third is missing, also at the begin."""
    generator = np.random.default_rng(seed)
    values = generator.normal(2, 5, (steps, channels)).cumsum(axis=0).astype(np.float32)
    values[generator.random(values.shape) < 0.3] = NAN
    values[:2, 0] = NAN
    return values


def test_gaps_are_the_last_value_before_them():
    """pandas' ffill, on 500 steps of three channels."""
    values = gappy()
    np.testing.assert_array_equal(pd.DataFrame(values).ffill().to_numpy(), carry_forward(values))


def test_nothing_comes_from_a_later_step():
    """Other values after a step change nothing up to it."""
    values = gappy()
    later = values.copy()
    later[250:] += 100
    np.testing.assert_array_equal(carry_forward(values)[:250], carry_forward(later)[:250])


def test_statistics_are_those_of_the_training_steps_that_are_there():
    """NumPy's nanmean and nanstd over two segments; other steps do not matter."""
    values = gappy()
    segments = [("a", 10, 100), ("b", 200, 260)]
    train = np.vstack([values[10:100], values[200:260]]).astype(np.float64)
    scaler = fit_scaler(values, segments, channels="xyz", scaling="channel", cut_by_time=False)
    np.testing.assert_allclose(np.nanmean(train, axis=0), scaler.mean, rtol=1e-12)
    np.testing.assert_allclose(np.nanstd(train, axis=0), scaler.standard_deviation, rtol=1e-12)


def test_a_channel_that_never_changes_or_never_speaks_is_not_scaled_up():
    """Deviation 1 for both; a channel without any value is 0."""
    values = np.array([[3, NAN], [3, NAN]], np.float32)
    scaler = fit_scaler(values, [("a", 0, 2)], channels="xy", scaling="channel", cut_by_time=False)
    assert ((3, 0), (1, 1)) == (scaler.mean, scaler.standard_deviation)
    assert [[0, 0], [0, 0]] == scaler.transform_whole(values).tolist()


@pytest.mark.parametrize("scaling", ["channel", "series", "none"])
def test_the_order_of_series_does_not_matter(scaling):
    """Segments in another order, and lying elsewhere in the payload, give the same bytes of state."""
    values = gappy()
    one = fit_scaler(
        values, [("a", 0, 200), ("b", 200, 500)], channels="xyz", scaling=scaling, cut_by_time=True
    )
    moved = np.vstack([values[200:], values[:200]])
    other = fit_scaler(
        moved, [("b", 0, 300), ("a", 300, 500)], channels="xyz", scaling=scaling, cut_by_time=True
    )
    assert json.dumps(one.state()) == json.dumps(other.state())
    assert one == scaler_of(json.loads(json.dumps(one.state())))


def test_whole_series_have_scales_of_their_own():
    """`series`: each has mean 0 and deviation 1 over the steps that are there; an unseen channel is 0."""
    values = gappy()
    scaler = fit_scaler(values, [("a", 0, 250)], channels="xyz", scaling="series", cut_by_time=False)
    own = values[250:] * 1000
    own[:, 2] = NAN
    made = scaler.transform_whole(own)
    seen = ~np.isnan(own[:, 1])
    np.testing.assert_allclose([0, 1], [made[seen, 1].mean(), made[seen, 1].std()], atol=1e-5)
    assert 0 == made[:, 2].any()


def test_series_cut_by_time_are_measured_on_their_training_steps():
    """What a series does after its training segment changes no scale; a new series has that of its channel."""
    values = gappy()
    scaler = fit_scaler(
        values, [("a", 0, 100), ("b", 300, 400)], channels="xyz", scaling="series", cut_by_time=True
    )
    np.testing.assert_allclose(
        np.nanmean(values[:100].astype(np.float64), axis=0), scaler.scale("a")[0], rtol=1e-12
    )
    assert scaler.mean == tuple(scaler.scale("new")[0])


def test_none_keeps_numbers_and_still_fills_gaps():
    """Before the first value stands the training mean, here 2 = (1 + 3) / 2."""
    values = np.array([[NAN], [1], [NAN], [3]], np.float32)
    scaler = fit_scaler(values, [("a", 0, 4)], channels="x", scaling="none", cut_by_time=False)
    assert [2, 1, 1, 3] == scaler.transform_whole(values)[:, 0].tolist()


@pytest.mark.parametrize("cut_by_time", [True, False])
def test_the_file_holds_each_series_by_itself(cut_by_time, tmp_path, monkeypatch):
    """Chunks of 7 steps give what the whole gives, and no gap is filled from the series before."""
    monkeypatch.setattr(preprocessing_series, "CHUNK_STEPS", 7)
    values = gappy(40)
    series = [("a", 0, 15), ("b", 15, 40)]
    scaler = fit_scaler(values, series, channels="xyz", scaling="channel", cut_by_time=cut_by_time)
    write_series(tmp_path / "series.npy", values, series, scaler, cut_by_time=cut_by_time)
    mean, deviation = np.array(scaler.mean), np.array(scaler.standard_deviation)
    parts = [pd.DataFrame(part).ffill().fillna(pd.Series(mean)) for part in (values[:15], values[15:])]
    np.testing.assert_allclose(
        (pd.concat(parts) - mean) / deviation, np.load(tmp_path / "series.npy"), atol=1e-5
    )


@pytest.mark.parametrize("cut_by_time", [False, True])
def test_columns_are_chosen_a_chunk_at_a_time(cut_by_time, tmp_path, monkeypatch):
    """Columns of the payload in another order, chunks of four steps: what the chosen columns alone give."""
    monkeypatch.setattr(preprocessing_series, "CHUNK_STEPS", 4)
    values, series = gappy(steps=11), [("a", 0, 6), ("b", 6, 11)]
    chosen = np.ascontiguousarray(values[:, [2, 0]])
    scaler = fit_scaler(chosen, series, channels=["x", "y"], scaling="series", cut_by_time=cut_by_time)
    kinds = {"cut_by_time": cut_by_time}
    write_series(tmp_path / "expected.npy", chosen, series, scaler, **kinds)
    write_series(tmp_path / "made.npy", values, series, scaler, columns=[2, 0], **kinds)
    assert (tmp_path / "expected.npy").read_bytes() == (tmp_path / "made.npy").read_bytes()


def test_shorter_series_are_padded_and_longer_ones_cut():
    """PAD behind the end; of a longer one the first steps."""
    made = padded([np.ones((1, 2), np.float32), np.arange(8, dtype=np.float32).reshape(4, 2)], 3)
    assert [[1, 1], [PAD, PAD], [PAD, PAD]] == made[0].tolist()
    assert [[0, 1], [2, 3], [4, 5]] == made[1].tolist()
