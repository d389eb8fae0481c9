"""
Ranks of truths among draws
===========================

Datasets of known truth, each fitted: the truth's rank among draws of the posterior is uniform if
model, simulator and sampler are one. Lines are ECDFs of ranks less that of a uniform, one per
quantity: growth in blue, what leaves the band of all in red. The file is that of a study that
``bayesdense calibrate`` made.
"""

import json
from pathlib import Path

import bayesdense as bd

study = Path("../evidence/calibrate-densing.json")
ax = bd.plot_calibration(json.loads(study.read_text(encoding="utf-8")))
ax.figure.savefig("calibration_ranks.png", dpi=150)
