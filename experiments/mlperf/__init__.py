"""MLPerf's LoadGen as an independent driver and judge of the live server.

- :mod:`.early_stopping`: its rule for when enough queries were seen, and its percentile, rebuilt;
- :mod:`.process`: LoadGen itself, in a process of its own;
- :mod:`.load`: that process as the load of a live run;
- :mod:`.judging`: policies under it, and what both sides say;
- :mod:`.shown`: the table.
"""
