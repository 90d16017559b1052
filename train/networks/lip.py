"""Local Importance Pooling: a weighted mean in each window, the weights exp(G(I)) learned by a small network G.

Paper B (J. Phys. Conf. Ser. 2083, 032030), equations 1–2, after Gao, Wang and Wu, ICCV 2019,
https://arxiv.org/abs/1908.04156. G is their SimplifiedLIP: a 3×3 convolution, instance norm, then a gate 12·σ(·).
That gate alone does not save half precision: exp(12) = 162,755 and FP16 ends at 65,504. The mean is unchanged when
every logit moves by the same amount, so "half-safe" moves the gate's range from 0…12 to -9…3.
"""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

GATE = 12.0  # the authors' COEFF, https://github.com/sebgao/LIP
# exp(-9) = 1.2e-4 is still a normal FP16 number (≥ 6.1e-5), and exp(3)·I stays finite up to I = 3,260
HALF_SAFE_SHIFT = 9.0

Bound = Literal["half-safe", "authors", "unbounded"]


def importance_pool(features: Tensor, logits: Tensor, window: int = 2) -> Tensor:
    """Equation 2: (N, C, H, W) and logits of the same shape → (N, C, H // window, W // window).

    Windows do not overlap, as in the max pooling they replace; a last odd row or column is left out.
    """
    weights = logits.exp()
    return F.avg_pool2d(features * weights, window) / F.avg_pool2d(weights, window)


class LocalImportancePooling(nn.Module):
    """(N, C, H, W), H and W ≥ 2 → (N, C, H // 2, W // 2); begins as average pooling.

    bound: "half-safe" and "authors" are the same function, only the first survives FP16; "unbounded" is equation 1
    as printed, for showing why the authors bound it.
    """

    def __init__(self, channels: int, bound: Bound = "half-safe"):
        super().__init__()
        self.bound = bound
        self.mix = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.InstanceNorm2d(channels, affine=True)
        nn.init.zeros_(self.mix.weight)  # the authors' start: all weights equal

    def logits(self, features: Tensor) -> Tensor:
        """Return G(I), the shape of `features`."""
        logits = self.norm(self.mix(features))
        if self.bound == "unbounded":
            return logits
        logits = logits.sigmoid() * GATE
        return logits - HALF_SAFE_SHIFT if self.bound == "half-safe" else logits

    def forward(self, features: Tensor) -> Tensor:
        return importance_pool(features, self.logits(features))
