"""
Effective and actual size
=========================

Effective against actual size of every LLM. On the diagonal an LLM does as well as the reference
LLM of its own size would: its density is 1. A distance from the diagonal is a density.
"""

import bayesdense as bd

fit = bd.load_fit("fits/densing")
ax = bd.plot_sizes(fit)
ax.figure.savefig("sizes.png", dpi=150)
