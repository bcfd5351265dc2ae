"""Batching rules: numbers and one pure method each."""
