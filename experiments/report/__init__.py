"""Reports: runs as one HTML file, with every number, figures to hover, and nothing to install."""

from __future__ import annotations

from .report import html_of, report

__all__ = ["html_of", "report"]
