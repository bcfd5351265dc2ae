"""MLPerf's LoadGen as an independent driver and judge of the live server, or of one over HTTP.

- :mod:`.early_stopping`: its rule for when enough queries were seen, and its percentile, rebuilt;
- :mod:`.process`: LoadGen itself, in a process of its own;
- :mod:`.load`: that process as the load of a live run;
- :mod:`.judging`: policies under it, and what both sides say;
- :mod:`.over_http`: a server under it, whatever serves there;
- :mod:`.shown`: the table.
"""
