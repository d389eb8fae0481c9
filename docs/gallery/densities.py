"""
Density of every LLM
====================

A forest of densities with their 95 % intervals, the latest LLM on top. Marks tell the LLMs whose
scores bound their size on one side only. ``bd.figure`` breaks the long list into columns;
``bd.plot_densities`` draws it on one pair of axes.
"""

import bayesdense as bd

fit = bd.load_fit("fits/densing")
figure = bd.figure(fit, "densities")
figure.savefig("densities.png", dpi=150)

# %%
# On axes of your own, as high as the list takes:
ax = bd.plot_densities(fit)
print(ax.figure.get_size_inches().round(1), "inches")
