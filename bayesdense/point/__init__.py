"""The paper's point pipeline, the baseline beside every posterior: plug-in from end to end."""

from bayesdense.point.attempts import AttemptNull as AttemptNull
from bayesdense.point.attempts import attempt_null as attempt_null
from bayesdense.point.estimate import ModeReading as ModeReading
from bayesdense.point.estimate import PointEstimate as PointEstimate
from bayesdense.point.estimate import point_estimate as point_estimate
from bayesdense.point.loss_fit import LossFit as LossFit
from bayesdense.point.loss_fit import LossLaw as LossLaw
from bayesdense.point.loss_fit import LossOptimum as LossOptimum
from bayesdense.point.loss_fit import fit_loss_law as fit_loss_law
from bayesdense.point.map_fit import ScoreMap as ScoreMap
from bayesdense.point.map_fit import fit_score_map as fit_score_map
from bayesdense.point.options import PointOptions as PointOptions
from bayesdense.point.records import RecordLine as RecordLine
from bayesdense.point.records import fit_line as fit_line
from bayesdense.point.records import running_records as running_records
from bayesdense.point.reference_tokens import average_law as average_law
from bayesdense.point.reference_tokens import reference_tokens_table as reference_tokens_table
from bayesdense.point.segments import Segment as Segment
from bayesdense.point.segments import split_records as split_records
from bayesdense.point.sizes import BenchmarkFit as BenchmarkFit
from bayesdense.point.sizes import LLMDensity as LLMDensity
