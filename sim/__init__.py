"""Drivers that run a policy on a workload, and what is derived from their traces."""
