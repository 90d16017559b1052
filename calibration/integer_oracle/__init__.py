"""What the quantized graph says exactly, and how far a backend may legally be from it. Knows no backend's code.

A sum of products of integers is an integer, which the oracle has exactly. Between that and the next Q a backend
computes in floating point, and three freedoms are its own: **rounding** (each tensor the graph names may be rounded
once to the type the graph states, or not at all), **order** (a node sums in int32, or in float32 or better in any
order) and **constants** (scales multiplied beforehand, a division turned into a product). Each has a bound in unit
roundoffs (Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd ed., 2002, §3.1), so every element of every Q
has its legal integers: one, unless the real number lies within the bound of a rounding boundary. All else is a defect:
rounding otherwise than half to even, saturating sums, sums or requantization in half precision, Winograd's transforms.

A layer is judged from the integers that the backend itself gave it: departures do not add up, and the first illegal
one names its layer. The worst case over all layers together is also computed (`run`), and says little: every weight
counts with its magnitude. `legal_bound` therefore draws legal backends.
"""

from calibration.integer_oracle.judge import Finding, Verdict, judge
from calibration.integer_oracle.legal import AS_WRITTEN, FUSED, ONNX_RUNTIME, WIDENED, Backend
from calibration.integer_oracle.oracle import Oracle
from calibration.integer_oracle.sample import exact_outputs, legal_bound

__all__ = ["AS_WRITTEN", "FUSED", "ONNX_RUNTIME", "WIDENED", "Backend", "Finding", "Oracle", "Verdict", "exact_outputs",
           "judge", "legal_bound"]
