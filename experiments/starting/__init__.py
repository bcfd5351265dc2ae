"""``batchwright init``: a first scenario, from a few answers or from a log of requests.

1. Nothing is written that does not load: the scenario is tried in a folder of its own first.
2. Every number that was found in a log says how, in a comment beside it.
"""
