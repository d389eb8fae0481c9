"""
Score map of a benchmark
========================

The map from loss to score, with its calibration points and the highest score that the reference
LLM can reach on D0 tokens at any size. Scores of LLMs are ticks at the edge: one above what can
be reached bounds a size from below only.
"""

import bayesdense as bd

fit = bd.load_fit("fits/densing")
ax = bd.plot_score_map(fit, "MMLU")
ax.figure.savefig("score_map.png", dpi=150)

# %%
figure = bd.figure(fit, "score_map")
figure.savefig("score_map_all.png", dpi=150)
