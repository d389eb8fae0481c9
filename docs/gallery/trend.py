"""
Trend of density
================

Every LLM at its release, with the 95 % interval of its density, on a log axis. The line is the
density of a typical new LLM, with bands of 50 and 95 % that hold the uncertainty of the trend and
not the scatter of LLMs about it. Outside the data the line is dashed. Beside it stand the records
of the paper's estimator, and the line through them.
"""

import bayesdense as bd

fit = bd.load_fit("fits/densing")
ax = bd.plot_trend(fit)
ax.figure.savefig("trend.png", dpi=150)
