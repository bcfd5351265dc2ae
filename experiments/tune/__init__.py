"""The best setting of a scenario, found by search and judged on fresh seeds."""
