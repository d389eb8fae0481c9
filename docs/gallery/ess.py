"""
Effective sample size of quantiles
==================================

How many independent draws a quantile is worth. Ends of intervals need tails that were visited
often enough.
"""

import bayesdense as bd

fit = bd.load_fit("fits/densing")
panels = bd.plot_ess(fit)
panels.savefig("ess.png", dpi=150)
