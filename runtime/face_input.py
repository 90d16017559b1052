"""How a network wants its faces, as its card says it. Cuts nothing: `preprocess.py` does.

Apart from it, so that a card can be read where OpenCV is broken: `mien doctor` must say that, not die of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MAX_SIDE = 4096  # of a network's input; a card that asks for more is a mistake


@dataclass(frozen=True)
class FaceInput:
    """How a network wants its faces: uint8 NCHW, a square aligned by landmarks, or cut around the detector's box."""

    height: int
    width: int
    colour: Literal["grey", "rgb"] = "grey"
    margin: float = 0.0  # share of the box's longer side added to the square's side; may be negative
    equalize: bool = False  # histogram equalization of the grey face
    resize: int | None = None  # side a face is sized to before its centre is taken; None sizes it to the input
    # where the five landmarks are to lie, x and y in shares of the square's side; None cuts around the box
    template: tuple[tuple[float, float], ...] | None = None

    def __post_init__(self) -> None:
        if not (1 <= self.height <= MAX_SIDE and 1 <= self.width <= MAX_SIDE):
            raise ValueError(f"expected an input of 1–{MAX_SIDE} pixels a side, found {self.height}×{self.width}")
        if not -0.5 <= self.margin <= 2:
            raise ValueError(f"expected a crop margin of -0.5–2, found {self.margin}")
        if self.equalize and self.colour != "grey":
            raise ValueError("expected equalize only with colour: grey")
        if self.resize is not None and not max(self.height, self.width) <= self.resize <= MAX_SIDE:
            raise ValueError(f"expected to resize to at least the input's side, found {self.resize} for "
                             f"{self.height}×{self.width}")

        if self.template is not None and (len(self.template) != 5 or any(len(point) != 2 for point in self.template)
                                          or not all(-1 <= share <= 2 for point in self.template for share in point)):
            raise ValueError(f"expected a template of five points x, y in shares of a side, found {self.template}")

    @property
    def channels(self) -> int:
        """Number of channels: 1 for grey, 3 for RGB."""
        return 1 if self.colour == "grey" else 3
