"""YuNet's outputs → faces, in numpy, above any engine.

Wu, Peng and Yu, "YuNet: a tiny millisecond-level face detector", Machine Intelligence Research 20, 2023; decoding as in
OpenCV's FaceDetectorYN (modules/objdetect/src/face_detect.cpp). Knows nothing of who trained the graph.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from runtime.engines.onnxruntime_engine import OnnxRuntimeEngine
from runtime.errors import BadInput, BadModel
from runtime.faces.detector import Faces, check_frame, keep_largest
from runtime.onnx_weights import refuse_unsafe

STRIDES = (8, 16, 32)
CHANNELS = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
NMS_IOU = 0.3  # both FaceDetectorYN's default and opencv_zoo's
MAX_CANDIDATES = 750  # boxes that enter non-maximum suppression: bounds its matrix, whatever the crowd
LONGEST_SIDE = 640  # px searched by a graph of free size; a 20 px face in a 1080p frame is below the crop's use anyway
MAX_FILE_BYTES = 64 << 20  # YuNet is 0.3 MB


class YuNetDetector:
    """Finds faces and five landmarks with a YuNet ONNX graph of fixed or free input size."""

    name = "yunet"

    def __init__(self, path: Path, max_faces: int = 8, score_threshold: float = 0.6, threads: int = 0):
        """Open a graph; a face needs `score_threshold` (0.6 is opencv_zoo's). Raises BadInput, BadModel."""
        try:
            if path.stat().st_size > MAX_FILE_BYTES:
                raise BadModel(f"expected a YuNet file of at most {MAX_FILE_BYTES} bytes, found more in {path}")
            content = path.read_bytes()
        except OSError as error:
            raise BadInput(f"expected a YuNet ONNX file, found {path}: {error.strerror}; check --faces") from error
        refuse_unsafe(content, str(path))
        self._engine = OnnxRuntimeEngine(content, str(path), "fp32", threads)
        wanted = {f"{head}_{stride}" for head in CHANNELS for stride in STRIDES}
        inputs = self._engine.inputs
        if not wanted <= {o.name for o in self._engine.outputs} or len(inputs) != 1 or len(inputs[0].shape) != 4:
            raise BadModel(f"expected YuNet's outputs cls/obj/bbox/kps at strides 8, 16, 32, found others in {path}")
        self._input = inputs[0].name
        height, width = inputs[0].shape[2:]
        self._fixed = (width, height) if width and height else None
        self._max_faces, self._threshold = max_faces, score_threshold

    def detect(self, frame: np.ndarray) -> Faces:
        """Find the largest faces of a frame, (H, W, 3) BGR uint8. Raises BadInput, MienError."""
        check_frame(frame)
        tensor, scale = fit(frame, self._fixed)
        size = (tensor.shape[3], tensor.shape[2])
        found = decode(self._engine.run({self._input: tensor}), size, self._threshold)
        landmarks = None if found.landmarks is None else found.landmarks / scale
        found = Faces(found.boxes / scale, landmarks, found.scores)
        return keep_largest(found, (frame.shape[1], frame.shape[0]), self._max_faces)

    def close(self) -> None:
        """Close the engine."""
        self._engine.close()


def fit(frame: np.ndarray, fixed: tuple[int, int] | None) -> tuple[np.ndarray, float]:
    """Shrink a BGR frame to fit and pad it right and below with black, as FaceDetectorYN does.

    `fixed` is the graph's (width, height) px; None shrinks to 640 and pads to multiples of 32. Returns the tensor
    (1, 3, height, width) float32 BGR 0–255, and scale = its pixels per frame pixel.
    """
    height, width = frame.shape[:2]
    scale = min(fixed[0] / width, fixed[1] / height) if fixed else min(1.0, LONGEST_SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    if size != (width, height):
        frame = cv2.resize(frame, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    padded = fixed or (-(-size[0] // 32) * 32, -(-size[1] // 32) * 32)
    tensor = np.zeros((1, 3, padded[1], padded[0]), np.float32)
    tensor[0, :, : size[1], : size[0]] = frame.transpose(2, 0, 1)
    return tensor, scale


def decode(outputs: Mapping[str, np.ndarray], size: tuple[int, int], threshold: float) -> Faces:
    """Decode one picture's heads `<cls|obj|bbox|kps>_<8|16|32>`, each (1, cells, channels); `size` is (width, height).

    With a cell at column c, row r of stride s: score = √(cls·obj); centre = (c + b₀, r + b₁)·s; width, height =
    (exp b₂, exp b₃)·s; landmark k = (c + k₂ₖ, r + k₂ₖ₊₁)·s. Raises BadModel where cells and size disagree.
    """
    boxes, landmarks, scores = [], [], []
    for stride in STRIDES:
        columns, rows = size[0] // stride, size[1] // stride
        heads = {name: outputs[f"{name}_{stride}"] for name in CHANNELS}
        for name, head in heads.items():
            if head.size != rows * columns * CHANNELS[name]:
                raise BadModel(f"expected {rows * columns} cells of {CHANNELS[name]} in {name}_{stride}, "
                               f"found {head.shape}; this is no YuNet")
        cls, obj = (np.clip(heads[name].reshape(-1), 0, 1) for name in ("cls", "obj"))
        score = np.sqrt(cls * obj)
        cells = np.flatnonzero(score >= threshold)  # NaN compares false
        origin = np.stack([cells % columns, cells // columns], axis=1).astype(np.float32)
        bbox = heads["bbox"].reshape(-1, 4)[cells]
        centre = (origin + bbox[:, :2]) * stride
        side = np.exp(np.minimum(bbox[:, 2:], 10)) * stride  # e¹⁰ strides is wider than any frame; more would overflow
        boxes.append(np.concatenate([centre - side / 2, side], axis=1))
        landmarks.append((origin[:, None] + heads["kps"].reshape(-1, 5, 2)[cells]) * stride)
        scores.append(score[cells])
    all_boxes, all_scores = np.concatenate(boxes), np.concatenate(scores)
    kept = suppress(all_boxes, all_scores, NMS_IOU)
    return Faces(all_boxes[kept], np.concatenate(landmarks)[kept], all_scores[kept])


def suppress(boxes: np.ndarray, scores: np.ndarray, overlap: float) -> np.ndarray:
    """Greedy non-maximum suppression: indices of the kept boxes (N, 4) x, y, width, height, best score first.

    A box goes when its intersection over union with a better kept one exceeds `overlap`.
    """
    order = np.argsort(-scores, kind="stable")[:MAX_CANDIDATES]
    first, side = boxes[order, :2], boxes[order, 2:]
    last, area = first + side, np.prod(side, axis=1)
    meet = np.minimum(last[:, None], last[None]) - np.maximum(first[:, None], first[None])
    shared = np.prod(np.maximum(meet, 0), axis=2)
    clash = shared > overlap * (area[:, None] + area[None] - shared)
    alive = np.ones(len(order), bool)
    for i in range(len(order)):
        if alive[i]:
            alive[i + 1 :] &= ~clash[i, i + 1 :]
    return order[alive]
