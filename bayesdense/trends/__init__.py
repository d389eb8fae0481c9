"""Trend hypotheses: how the log density of a typical new LLM moves with time, one file each."""

from bayesdense.trends.base import Mixture, Trend, TrendData, TrendOn
from bayesdense.trends.known import (
    TRENDS,
    add_trend,
    form_of,
    known_trends,
    trend_forms,
    trend_named,
)

__all__ = [
    "TRENDS",
    "Mixture",
    "Trend",
    "TrendData",
    "TrendOn",
    "add_trend",
    "form_of",
    "known_trends",
    "trend_forms",
    "trend_named",
]
