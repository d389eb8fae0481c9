"""Rival trends compared: evidence, leave-one-out, leave-future-out, and a verdict."""

from bayesdense.comparison.answer import Comparison
from bayesdense.comparison.rivals import compare

__all__ = ["Comparison", "compare"]
