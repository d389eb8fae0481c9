"""
Readings of the frontier
========================

Growth of a typical new LLM, of the records that were set, of the maximum of simulated entrants, and
of the paper's line: different questions with different answers, never ranked. The band is the 95 %
interval of the first. What the fit does not allow has no line.
"""

import bayesdense as bd

fit = bd.load_fit("fits/densing")
ax = bd.plot_readings(fit)
ax.figure.savefig("readings.png", dpi=150)
