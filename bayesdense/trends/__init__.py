"""Trend hypotheses: how the log density of a typical new LLM moves with time, one file each."""

from bayesdense.trends.base import Trend
from bayesdense.trends.exponential import EXPONENTIAL
from bayesdense.trends.flat import FLAT

TRENDS: dict[str, Trend] = {trend.kind: trend for trend in (EXPONENTIAL, FLAT)}

__all__ = ["TRENDS", "Trend"]
