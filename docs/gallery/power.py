"""
What change of growth the data could show
=========================================

How often a change of growth is found in simulated datasets, against its size: by the verdict of
``bayesdense compare`` and by the probability of the change. The file is that of a study that
``bayesdense power`` made.
"""

import json
from pathlib import Path

import bayesdense as bd

study = Path("../evidence/power-densing.json")
ax = bd.plot_power(json.loads(study.read_text(encoding="utf-8")), "break_free")
ax.figure.savefig("power.png", dpi=150)
