"""What is wrong with a run that is to be diagnosed."""

from __future__ import annotations


class DiagnosisError(ValueError):
    """What is to be diagnosed cannot be: one sentence says why, and what would be right."""
