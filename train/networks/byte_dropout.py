"""Dropout whose mask is drawn a byte at a time: for networks that drop between all layers.

PyTorch draws a number an element, on a CPU in one thread: a fifth of a step of paper A's network. Here it is one for
eight elements. A byte has 256 values, so a rate is one of k/256 (0.3 becomes 0.30078); what stays is scaled by that
rate, so the mean is kept exactly.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ByteDropout(nn.Dropout):
    """`nn.Dropout(p)`; on a GPU and outside training it is that."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape → the same, in training about p of the elements zero."""
        dropped = round(self.p * 256)
        if not self.training or x.device.type != "cpu" or not 0 < dropped < 256:
            return super().forward(x)
        draws = torch.empty(-(-x.numel() // 8), dtype=torch.int64).random_(-2 ** 63, None)
        kept = torch.empty_like(x, dtype=torch.bool)  # lies in memory as x does
        dense = kept.permute(sorted(range(x.dim()), key=kept.stride, reverse=True))
        dense.copy_((draws.view(torch.uint8)[:x.numel()] >= dropped).view(dense.shape))
        return (x * kept).mul_(256 / (256 - dropped))
