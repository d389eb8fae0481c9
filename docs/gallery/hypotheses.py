"""
Rival trends
============

Median and 50 % band of the density of a typical new LLM under every trend of a comparison. The
wider a line, the larger its stacking weight; weights of trends that foretell alike are arbitrary,
so that the verdict comes first. Here two trends of published densities.
"""

import bayesdense as bd

found = bd.compare(
    "densing-published", ["exponential", "flat"], draws=500, executor="serial", resume=True
)
print(found.verdict)
ax = bd.plot_hypotheses(found)
ax.figure.savefig("hypotheses.png", dpi=150)
