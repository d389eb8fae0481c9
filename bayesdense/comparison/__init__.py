"""Rival trends compared: evidence, leave-one-out, leave-future-out, and a verdict."""

from bayesdense.comparison.rivals import Comparison, compare

__all__ = ["Comparison", "compare"]
