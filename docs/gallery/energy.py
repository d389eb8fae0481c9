"""
Energies of the sampler
=======================

The distribution of the energy against that of its steps. Where steps are much narrower, the
sampler moves too slowly through the tails.
"""

import bayesdense as bd

fit = bd.load_fit("fits/densing")
panels = bd.plot_energy(fit)
panels.savefig("energy.png", dpi=150)
