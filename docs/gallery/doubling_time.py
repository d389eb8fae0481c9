"""
Doubling time
=============

The growth rate read as a doubling time, ln 2 over growth, in every draw. It goes through infinity
where growth goes through zero; draws without growth double never, and are counted, not dropped.
"""

import bayesdense as bd

fit = bd.load_fit("fits/densing")
ax = bd.plot_doubling_time(fit)
ax.figure.savefig("doubling_time.png", dpi=150)
