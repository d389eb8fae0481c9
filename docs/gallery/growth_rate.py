"""
Growth rate
===========

The parameter of the trend: growth of log density per year, at the last release. Its prior stands
beside its posterior, and the value that the paper gives. Zero is in the middle of the prior:
before the data growth is as likely as decline.
"""

import bayesdense as bd

fit = bd.load_fit("fits/densing")
ax = bd.plot_growth_rate(fit)
ax.figure.savefig("growth_rate.png", dpi=150)
