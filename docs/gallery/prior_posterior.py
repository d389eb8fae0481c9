"""
Priors against posteriors
=========================

What the data have changed, parameter by parameter: ArviZ's own figure of prior and posterior.
"""

import bayesdense as bd

fit = bd.load_fit("fits/densing")
panels = bd.plot_prior_posterior(fit, var_names=["growth_rate", "family_sd", "residual_sd"])
panels.savefig("prior_posterior.png", dpi=150)
