"""Latency profiles: measured samples on a grid of batch size and length."""
