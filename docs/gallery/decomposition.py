"""
Where the width comes from
==========================

Width of the headline's 95 % interval of growth with one source at a time switched off (held, not
inferred) or on (a definition that the headline holds is left open). Widths do not add. The file is
that of a study that ``bayesdense sweep`` made.
"""

import bayesdense as bd

found = bd.read_study("../evidence/studies/sweep-densing")
ax = bd.plot_decomposition(found)
ax.figure.savefig("decomposition.png", dpi=150)
