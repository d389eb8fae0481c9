"""
Coverage of later scores
========================

Share of later LLMs' scores in the bands that fits to earlier LLMs gave them, against what these
bands promise. Bars are where 95 % of the model's own worlds lie: a mark outside of its bar is more
than chance. The file is that of a study that ``bayesdense backtest`` made.
"""

import bayesdense as bd

found = bd.read_study("../evidence/studies/backtest-densing")
ax = bd.plot_backtest(found)
ax.figure.savefig("backtest_coverage.png", dpi=150)
