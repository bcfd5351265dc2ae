"""Scenarios, comparisons, figures and the command line."""
