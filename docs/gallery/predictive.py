"""
Scores against replicated scores
================================

The distribution of the scores of each benchmark beside that of data drawn from the posterior. A
model that describes them keeps the line of the data inside the bands.
"""

import bayesdense as bd

fit = bd.load_fit("fits/densing")
figure = bd.figure(fit, "predictive")
figure.savefig("predictive.png", dpi=150)

# %%
# One benchmark, on axes of its own:
ax = bd.plot_predictive(fit, "HumanEval")
print(ax.get_xlabel())
