"""
Growth under other definitions
==============================

The same question under every other definition: medians and 95 % intervals of growth, the headline's
as a band. Growth and not its doubling time is on the axis, as its intervals always have two ends.
Here two definitions of the trend of published densities; on LLMs' scores there are some thirty.
"""

import bayesdense as bd

found = bd.sweep(
    "densing-published", axes=["family", "window"], draws=500, executor="serial", resume=True
)
ax = bd.plot_sweep(found.table())
ax.figure.savefig("sweep.png", dpi=150)
