"""One pass over the activations, in constant memory."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_graphs import GraphWriter, random_faces, vgg_graph

from calibration.observe import BINS, Histogram, observe
from runtime.errors import BadInput, MienError

FLOATS = st.floats(-2.0**100, 2.0**100, width=32)
ARRAYS = st.lists(st.lists(FLOATS, min_size=1, max_size=50), min_size=1, max_size=6)


def histogram_of(arrays: list[list[float]]) -> Histogram:
    histogram = Histogram()
    for values in arrays:
        histogram.add(np.array(values, dtype=np.float32))
    return histogram


@settings(deadline=None)
@given(ARRAYS)
def test_no_value_is_lost_however_often_the_range_doubles(arrays: list[list[float]]) -> None:
    histogram = histogram_of(arrays)
    assert histogram.counts.sum() + histogram.zeros == sum(map(len, arrays))
    assert (histogram.counts >= 0).all()


@settings(deadline=None)
@given(ARRAYS)
def test_the_largest_magnitude_is_kept_exactly(arrays: list[list[float]]) -> None:
    assert histogram_of(arrays).largest == max(abs(np.float32(v)) for values in arrays for v in values)


@settings(deadline=None)
@given(ARRAYS, st.floats(0, 1), st.floats(0, 1))
def test_a_larger_percentile_is_never_a_smaller_magnitude(arrays: list[list[float]], a: float, b: float) -> None:
    histogram = histogram_of(arrays)
    low, high = sorted((a, b))
    assert 0 <= histogram.percentile(low) <= histogram.percentile(high) <= histogram.largest


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_percentile_is_numpys_within_a_bin(share: float) -> None:
    values = np.random.default_rng(0).normal(0, 3, 20_000).astype(np.float32)
    histogram = Histogram()
    for part in np.split(np.sort(np.abs(values)), 10):  # ascending: the range must double on the way
        histogram.add(part)
    wanted = np.quantile(np.abs(values), share, method="inverted_cdf")
    assert abs(histogram.percentile(share) - wanted) <= histogram.limit / BINS


def test_the_hundredth_percentile_is_the_largest() -> None:
    values = np.random.default_rng(0).normal(0, 3, 1000).astype(np.float32)
    histogram = Histogram()
    histogram.add(values)
    assert histogram.percentile(1.0) == pytest.approx(float(np.abs(values).max()), rel=1e-6)


def test_memory_does_not_grow_with_what_is_seen() -> None:
    histogram = Histogram()
    for power in range(-20, 30):
        histogram.add(np.full(1000, 2.0**power, dtype=np.float32))
    assert histogram.counts.shape == (BINS,) and histogram.counts.sum() == 50_000


@pytest.mark.parametrize("values", [[0.0, 0.0], [1e-40, 3e-45], [3e38, -3e38]])
def test_extreme_values_are_counted(values: list[float]) -> None:
    histogram = histogram_of([values, values])
    assert histogram.counts.sum() + histogram.zeros == 4


def test_a_tensor_that_is_always_zero_has_percentile_zero() -> None:
    assert histogram_of([[0.0] * 9]).percentile(0.99) == 0.0


def test_every_value_of_every_face_is_counted_across_batches() -> None:
    model = vgg_graph()
    relu = next(n.output[0] for n in model.graph.node if n.op_type == "Relu")  # (N, 8, 16, 16)
    histograms = observe(model, [relu], iter(random_faces(11)), batch_size=4)
    assert histograms[relu].counts.sum() + histograms[relu].zeros == 11 * 8 * 16 * 16


def test_the_batch_size_does_not_change_the_range() -> None:
    model = vgg_graph()
    tensors = [n.output[0] for n in model.graph.node if n.op_type == "Relu"]
    one, many = (observe(model, tensors, random_faces(12), batch_size=size) for size in (1, 12))
    for tensor in tensors:
        assert one[tensor].largest == pytest.approx(many[tensor].largest, rel=1e-5)


def test_observing_leaves_the_graph_as_it_was() -> None:
    model = vgg_graph()
    before = model.SerializeToString(deterministic=True)
    observe(model, [model.graph.node[3].output[0]], random_faces(2))
    assert model.SerializeToString(deterministic=True) == before


def test_an_activation_that_is_not_finite_names_tensor_and_image() -> None:
    writer = GraphWriter()
    logarithm = writer.node("Log", [writer.node("Cast", ["faces"], to=1)])  # of a black pixel: minus infinity
    writer.classify(writer.mean(writer.conv_relu(logarithm, 1, 8), 2, 3), 8)
    faces = np.full((40, 1, 16, 16), 9, dtype=np.uint8)
    faces[37, 0, 3, 3] = 0
    with pytest.raises(MienError, match=f"{logarithm} for image 37"):
        observe(writer.model(), [logarithm], faces)


def test_an_empty_set_is_refused() -> None:
    with pytest.raises(BadInput, match="at least one calibration face"):
        observe(vgg_graph(), [], iter(()))


@pytest.mark.parametrize("face", [np.zeros((1, 16, 16), np.float32), np.zeros((16, 16), np.uint8),
                                  np.zeros((1, 48, 48), np.uint8)])
def test_a_face_of_another_shape_or_kind_is_refused(face: np.ndarray) -> None:
    with pytest.raises(BadInput, match=r"faces of \(1, 16, 16\) uint8"):
        observe(vgg_graph(), [], [face])
