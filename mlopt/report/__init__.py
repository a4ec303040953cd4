"""The report: a pure function of the run on disk."""

from mlopt.report.outcome import quotable
from mlopt.report.render import render_adr, write_report
from mlopt.report.summary import SummaryRow, summary_rows
from mlopt.report.verify import check_report

__all__ = ["SummaryRow", "check_report", "quotable", "render_adr", "summary_rows", "write_report"]
