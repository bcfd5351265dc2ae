"""Why latency is high, and what to change: evidence from one run, remedies by simulation."""
