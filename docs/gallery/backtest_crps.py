"""
Distance of later scores, beside baselines
==========================================

Continuous ranked probability score of the model's predictions less that of each baseline, with two
standard errors clustered by family: left of zero the model is better.
"""

import bayesdense as bd

found = bd.read_study("../evidence/studies/backtest-densing")
ax = bd.plot_backtest(found, kind="crps")
ax.figure.savefig("backtest_crps.png", dpi=150)
