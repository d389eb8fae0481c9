"""
Loss law of a benchmark
=======================

Losses of the reference runs by their training tokens, with the law's mean for each size and its
95 % band. This is all that the model knows of size and tokens before it meets an LLM.
``bd.figure`` draws all benchmarks.
"""

import bayesdense as bd

fit = bd.load_fit("fits/densing")
ax = bd.plot_loss_law(fit, "MMLU")
ax.figure.savefig("loss_law.png", dpi=150)

# %%
figure = bd.figure(fit, "loss_law")
figure.savefig("loss_law_all.png", dpi=150)
