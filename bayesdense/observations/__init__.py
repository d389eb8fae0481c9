"""What a model sees of a dataset: index arrays, logs and logits, ready for any branch.

The model, the simulator, the derived quantities and the checks all read these values, so that
selection of LLMs, centring and the treatment of scores of 0 and 1 stand in one place.
"""

from bayesdense.observations.selection import observe
from bayesdense.observations.values import (
    Benchmarks,
    CalibrationData,
    DensityData,
    JointObservations,
    LLMData,
    LossData,
    Observations,
    ReportData,
    ScoreData,
    trend_on,
)

__all__ = [
    "Benchmarks",
    "CalibrationData",
    "DensityData",
    "JointObservations",
    "LLMData",
    "LossData",
    "Observations",
    "ReportData",
    "ScoreData",
    "observe",
    "trend_on",
]
