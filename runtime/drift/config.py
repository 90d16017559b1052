"""What the drift monitor is told. Knows nothing of how it watches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MONTH_SECONDS = 30 * 86400.0


@dataclass(frozen=True)
class DriftConfig:
    """The `drift` section of stream.yaml.

    budget: share of one core. seconds_between: at least this long between two samples. tolerance: how often a bin may
    be met, as a multiple of the baseline's share. learn: compare with this camera's first samples in place of the
    calibration's faces. policy: what an engine that departs leads to.
    """

    enabled: bool = True
    budget: float = 0.05
    seconds_between: float = 5.0
    false_alarms_per_month: float = 0.1
    tolerance: float = 1.25
    learn: bool = False
    policy: Literal["tell", "restart"] = "tell"

    def __post_init__(self) -> None:
        for name, least, most in (("budget", 0.001, 1), ("seconds_between", 0, 3600), ("tolerance", 1, 10),
                                  ("false_alarms_per_month", 1e-6, 1000)):
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"expected {name} of {least:g}–{most:g}, found {getattr(self, name)}")

    def samples_between_alarms(self, watches: int) -> float:
        """Return the mean number of samples between two false alarms that each of some watches may have.

        As if faces were there all month; where they are not, false alarms are rarer still.
        """
        # without a gap the tenth of a second stands for the fastest reference
        samples = MONTH_SECONDS / max(self.seconds_between, 0.1)
        return watches * samples / self.false_alarms_per_month
