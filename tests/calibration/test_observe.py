"""One pass over the activations, in constant memory."""

from __future__ import annotations

from itertools import islice

import numpy as np
import onnx
import pytest
from tiny_graphs import GraphWriter, random_faces, vgg_graph

from calibration.observe import observe, watch
from runtime.errors import BadInput, MienError


def test_every_value_of_every_face_is_counted_across_batches() -> None:
    model = vgg_graph()
    relu = next(n.output[0] for n in model.graph.node if n.op_type == "Relu")  # (N, 8, 16, 16)
    histograms = observe(model, [relu], iter(random_faces(11)), batch_size=4)
    assert histograms[relu].counts.sum() + histograms[relu].zeros == 11 * 8 * 16 * 16


def relus(model: onnx.ModelProto) -> list[str]:
    return [n.output[0] for n in model.graph.node if n.op_type == "Relu"]


def test_the_histograms_are_those_of_the_tensors_values() -> None:
    model = vgg_graph()
    faces = random_faces(5)
    pixels = model.graph.node[2].output[0]  # faces / 64 - 2
    found = observe(model, [pixels], faces)[pixels]
    values = faces.astype(np.float32) / 64 - 2
    assert (found.minimum, found.maximum) == (values.min(), values.max())
    assert found.mean == pytest.approx(float(values.mean()), rel=1e-5)


def test_a_stopped_pass_goes_on_as_if_it_had_never_stopped() -> None:
    model, faces = vgg_graph(), random_faces(12)
    whole = observe(model, relus(model), faces, batch_size=4)
    stopped = next(iter(watch(model, relus(model), iter(faces), batch_size=4)))
    assert stopped.images == 4
    *_, last = watch(model, relus(model), faces[stopped.images:], 4, stopped)
    assert last.images == 12
    for tensor, histogram in whole.items():
        assert (last.histograms[tensor].counts == histogram.counts).all()
        assert last.histograms[tensor].sum == pytest.approx(histogram.sum, rel=1e-6)


def test_every_state_stays_as_it_was_when_the_pass_goes_on() -> None:
    model = vgg_graph()
    states = list(watch(model, relus(model), random_faces(6), batch_size=2))
    first = states[0].histograms[relus(model)[0]]
    assert [state.images for state in states] == [2, 4, 6] and first.total == 2 * 8 * 16 * 16


def test_an_interruption_in_the_data_leaves_whole_states() -> None:
    def interrupted():
        yield from random_faces(9)
        raise KeyboardInterrupt

    model, states = vgg_graph(), []
    with pytest.raises(KeyboardInterrupt):
        states.extend(watch(model, relus(model), interrupted(), batch_size=2))
    assert states[-1].images >= 4
    assert states[-1].histograms[relus(model)[0]].total == states[-1].images * 8 * 16 * 16


def test_going_on_after_the_last_face_is_no_empty_set() -> None:
    model = vgg_graph()
    done = next(islice(watch(model, relus(model), random_faces(3)), 1))
    assert list(watch(model, relus(model), [], start=done)) == []


def test_memory_does_not_grow_with_the_images() -> None:
    model = vgg_graph()
    sizes = []
    for images in (8, 64):
        *_, state = watch(model, relus(model), random_faces(images), batch_size=8)
        sizes.append(sum(h.counts.nbytes for h in state.histograms.values()))
    assert sizes[0] == sizes[1]


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
    with pytest.raises(BadInput, match=r"faces of \(1, 16, 16\) uint8, found .* as image 0"):
        observe(vgg_graph(), [], [face])
