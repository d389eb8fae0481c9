"""
What the loss laws leave over
=============================

By how much each reference run deviates from the law, in per cent of its loss. A bend along size
or tokens would say that the law has the wrong form.
"""

import bayesdense as bd

fit = bd.load_fit("fits/densing")
figure = bd.figure(fit, "loss_residuals")
figure.savefig("loss_residuals.png", dpi=150)

# %%
# One benchmark, on axes of its own:
ax = bd.plot_loss_residuals(fit, "MATH")
print(ax.get_ylabel())
