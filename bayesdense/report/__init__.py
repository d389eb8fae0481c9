"""The report of a fit: one self-contained page of HTML."""

from bayesdense.report.page import report_html, write_report

__all__ = ["report_html", "write_report"]
