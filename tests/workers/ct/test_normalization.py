"""Values of CT to channels in [0, 1]."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from pixelmill.workers.ct import normalization as normalization_module
from pixelmill.workers.ct.normalization import (
    AIR_HU,
    Normalization,
    body_share,
    body_square,
    percentiles_of,
    resized,
    resized_mask,
)
from pixelmill.workers.errors import ModelError

slices = arrays(np.int16, (6, 9), elements=st.integers(-3024, 3071))


@given(slices, st.sampled_from(["window", "percentile"]))
def test_every_channel_lies_in_0_to_1(hu_HW: np.ndarray, method: str) -> None:
    normalization = Normalization(("lung", "bone"), method, size_px=8)  # type: ignore[arg-type]
    image = normalization.whole(hu_HW)
    assert image.shape == (normalization.channels, 8, 8)
    assert 0 <= float(image.min()) <= float(image.max()) <= 1


def test_hounsfield_units_and_the_same_slice_windowed_lie_on_one_scale() -> None:
    hu_HW = np.linspace(-1000, 400, 64).reshape(8, 8).astype(np.int16)
    grey_HW = ((hu_HW + 1000.0) / 1400 * 255).round().astype(np.uint8)
    normalization = Normalization(("wide",), size_px=8)
    assert np.allclose(normalization.whole(hu_HW), normalization.whole(grey_HW), atol=1 / 255)


def test_a_windowed_picture_is_each_of_the_channels() -> None:
    image = Normalization(("lung", "bone"), size_px=4).whole(np.full((4, 4), 51, np.uint8))
    assert image.shape[0] == 2
    assert np.allclose(image, 0.2)


@pytest.mark.parametrize("kind", [np.int16, np.uint8])
def test_a_window_looks_for_no_percentiles(kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(normalization_module, "percentiles_of", None)
    assert Normalization(("lung",), size_px=4).whole(np.full((4, 4), 51, kind)).shape == (1, 4, 4)


def test_percentiles_of_a_crop_are_those_of_its_slice() -> None:
    hu_HW = np.arange(256, dtype=np.int16).reshape(16, 16)
    normalization = Normalization(normalise="percentile", size_px=16)
    spread = normalization.spread_of(hu_HW)
    whole = normalization.applied(hu_HW, spread)
    assert np.array_equal(normalization.applied(hu_HW[:4, :4], spread), whole[:, :4, :4])


@given(
    st.sampled_from([np.int16, np.uint8]).flatmap(
        lambda kind: arrays(
            kind,
            array_shapes(max_dims=3, max_side=12),
            elements=st.integers(0, 255) if kind is np.uint8 else st.integers(-3024, 12_000),
        )
    ),
    st.lists(st.floats(0, 100), min_size=1, max_size=3),
)
def test_percentiles_are_those_of_numpy(values: np.ndarray, percents: list[float]) -> None:
    expected = np.percentile(values, percents).astype(np.float32)
    assert np.allclose(percentiles_of(values, percents), expected, rtol=1e-6, atol=1e-6)
    assert np.array_equal(percentiles_of(values, (0.5, 99.5)), np.percentile(values, (0.5, 99.5)).astype(np.float32))


def test_a_slice_that_is_not_square_is_laid_on_air() -> None:
    made = resized(np.full((1, 4, 8), 40, np.int16), 8)
    assert (made[0, 2:6] == 40).all()
    assert (made[0, :2] == AIR_HU).all()
    assert resized_mask(np.ones((4, 8), np.uint8), 8).sum() == 32


def test_the_square_around_a_body_holds_it() -> None:
    hu_DHW = np.full((2, 20, 20), -1000, np.int16)
    hu_DHW[1, 3:9, 5:17] = 40
    top, left, side = body_square(hu_DHW)
    assert side == 12
    assert top <= 3 < 9 <= top + side
    assert left <= 5 < 17 <= left + side
    assert body_share(hu_DHW[0]) == 0
    assert body_square(hu_DHW[:1]) == (0, 0, 20)


def test_an_unknown_window_is_refused_by_name() -> None:
    with pytest.raises(ModelError, match="there is no liver; there are lung"):
        Normalization(("liver",))
