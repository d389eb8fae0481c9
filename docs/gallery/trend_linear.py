"""
Trend of density on a linear axis
=================================

The same on a linear axis, where doubling looks as steep as it is, and where intervals that look
alike on the log axis do not.
"""

import bayesdense as bd

fit = bd.load_fit("fits/densing")
ax = bd.plot_trend(fit, scale="linear")
ax.figure.savefig("trend_linear.png", dpi=150)
