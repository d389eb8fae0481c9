"""
Coverage world by world
=======================

Share of 95 % intervals of growth that hold the truth, with its own 95 % interval: of the model, and
of the line through records. A study of one world, where the model is right, is shown here;
``bayesdense calibrate --world all`` adds those in which it is wrong.
"""

import json
from pathlib import Path

import bayesdense as bd

study = Path("../evidence/calibrate-densing.json")
ax = bd.plot_calibration(json.loads(study.read_text(encoding="utf-8")), kind="coverage")
ax.figure.savefig("calibration_coverage.png", dpi=150)
