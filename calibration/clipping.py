"""What a threshold clips of a tensor: the share of its values beyond it. Knows nothing of how it was chosen."""

from __future__ import annotations

import numpy as np

from runtime.histogram import Histogram


def clipped_share(histogram: Histogram, threshold: float) -> float:
    """Return the share (0–1) of all values, zeros included, whose magnitude is above a threshold of at least 0.

    Values count as evenly spread inside a bin, so that the share falls steadily as the threshold rises.
    """
    if histogram.exponent is None or threshold >= histogram.largest:
        return 0.0
    edges = histogram.edges()
    widths = np.diff(edges)
    above = np.clip(edges[1:] - threshold, 0, widths)
    shares = np.divide(above, widths, out=np.zeros_like(widths), where=widths > 0)
    return float((histogram.counts * shares).sum() / histogram.total)
