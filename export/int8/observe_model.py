"""Observe a model's fp32.onnx on faces, with a progress bar; what was seen survives Ctrl-C, SIGTERM and errors.

The state lies beside the model directory, in the form of `ranges.hist`, until INT8 is written. Knows no data set.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from tqdm import tqdm

from calibration.observe import Observed, watch
from calibration.onnx_graph import parse_model
from calibration.pick_images import hash_images
from calibration.quantize import plan
from runtime.card import Model
from runtime.command_line import say
from runtime.errors import BadInput
from runtime.histogram import Histogram
from runtime.ranges_file import ActivationRanges, read_ranges, write_ranges


def state_path(model: Model) -> Path:
    """Return where an unfinished pass keeps what it saw: beside the directory, which stays whole."""
    directory = model.directory.absolute()
    return directory.with_name(f"{directory.name}.observing.hist")


def observe_model(model: Model, faces: np.ndarray, resume: bool = False, keep_state: bool = True) -> ActivationRanges:
    """Return the activation histograms of fp32.onnx over prepared faces (N, C, H, W) uint8.

    resume: go on from a stopped pass over the same faces. Raises BadInput where the state is of other faces, of another
    graph or of another plan; MienError naming tensor and face where a value is not finite.
    """
    fp32 = parse_model(model.read_graph("fp32"), str(model.directory / "fp32.onnx"))
    tensors, faces_sha256, graph_sha256 = plan(fp32).tensors, hash_images(faces), model.card.graphs["fp32"].sha256
    state = Observed({tensor: Histogram() for tensor in tensors})
    path = state_path(model)
    if resume and path.is_file():
        state = _state_of(read_ranges(path), path, tensors, faces_sha256, graph_sha256, len(faces))
        say(f"going on after {state.images} of {len(faces)} faces")
    elif resume:
        say(f"no {path.name} to go on from: starting with the first face")
    rest = tqdm(faces[state.images :], desc="observing", leave=False, disable=None, unit="face",
                initial=state.images, total=len(faces))
    try:
        for reached in watch(fp32, tensors, rest, start=state):
            state = reached
    except BaseException:  # Ctrl-C and SIGTERM are no Exceptions
        if keep_state and state.images:
            write_ranges(path, ActivationRanges(graph_sha256, state.images, state.histograms, faces_sha256))
            say(f"kept what {state.images} of {len(faces)} faces showed in {path}; --resume goes on from there")
        raise
    return ActivationRanges(graph_sha256, state.images, state.histograms, faces_sha256)


@contextmanager
def kept_until_written(model: Model, ranges: ActivationRanges) -> Iterator[None]:
    """Keep what a pass saw where what follows it fails, a full disk or a rounding that departs; else leave no state."""
    try:
        yield
    except BaseException:
        path = state_path(model)
        write_ranges(path, ranges)
        say(f"kept what all {ranges.images} faces showed in {path}; --resume begins with that")
        raise
    state_path(model).unlink(missing_ok=True)


def _state_of(found: ActivationRanges, path: Path, tensors: tuple[str, ...], faces_sha256: str, graph_sha256: str,
              most: int) -> Observed:
    if found.images_sha256 != faces_sha256 or found.images > most:
        raise BadInput(f"expected what the faces {faces_sha256[:12]} showed in {path}, found that of the list "
                       f"{found.images_sha256[:12]}; the same command without --resume starts again")
    if found.graph_sha256 != graph_sha256 or set(found.histograms) != set(tensors):
        raise BadInput(f"expected histograms of this model's fp32.onnx in {path}, found another graph's; "
                       "the same command without --resume starts again")
    return Observed({tensor: found.histograms[tensor] for tensor in tensors}, found.images)
