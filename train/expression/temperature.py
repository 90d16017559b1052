"""One temperature for a network's logits, fitted on faces it was not trained on. Knows no network.

Dividing logits by it changes no label, only how sure each is (Guo et al., "On calibration of modern neural networks",
ICML 2017, https://arxiv.org/abs/1706.04599, section 4.2).
"""

from __future__ import annotations

import numpy as np

from runtime.agreement import softmax
from runtime.errors import BadInput

LOWEST, HIGHEST = 0.05, 20.0  # beyond, the logits are no longer a classifier's


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the T of 0.05–20 at which softmax(logits / T) has the least negative log-likelihood.

    logits: (N, classes) float, labels: (N,) int. In 1/T that likelihood is convex, with the mean logit expected under
    the probabilities, less the mean true logit, as its slope; the slope's zero is found by bisection. Answers that are
    all right go to 0.05, answers no better than chance to 20. Raises BadInput.
    """
    if logits.ndim != 2 or labels.shape != (len(logits),) or not len(logits):
        raise BadInput(f"expected logits of (N, classes) and N ≥ 1 labels, found {logits.shape} and {labels.shape}; "
                       "give both of the same faces")
    if not np.isfinite(logits).all():
        raise BadInput(f"expected finite logits, found {int((~np.isfinite(logits)).any(1).sum())} faces with NaN or "
                       "infinity; check the network")
    wide = logits.astype(np.float64)
    true = wide[np.arange(len(labels)), labels].mean()
    low, high = np.log(LOWEST), np.log(HIGHEST)
    while high - low > 1e-9:
        middle = (low + high) / 2
        expected = (softmax(wide, float(np.exp(middle))) * wide).sum(axis=1).mean()
        if expected > true:  # too sure: warmer
            low = middle
        else:
            high = middle
    return float(np.exp(middle))
