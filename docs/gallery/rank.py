"""
Ranks of the chains
===================

Each chain's draws should be as often high as low among the draws of all chains. Lines that leave
the band say that a chain was elsewhere.
"""

import bayesdense as bd

fit = bd.load_fit("fits/densing")
panels = bd.plot_rank(fit)
panels.savefig("rank.png", dpi=150)
