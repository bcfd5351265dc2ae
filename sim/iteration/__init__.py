"""Continuous batching: sequences that live for many iterations, in SimPy, compiled and live."""
