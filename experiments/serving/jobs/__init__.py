"""Jobs: requests that nobody waits for, kept in a queue until a server has time for them.

- :mod:`.contract`: what a queue promises, and what it is told;
- :mod:`.memory`: Python's own queue, which is lost with its process;
- :mod:`.redis_streams`, :mod:`.scripts`: a queue in Redis, which several servers share and which
  outlives them all;
- :mod:`.feeding`: hands jobs over to the driver, no more than keep the servers fed;
- :mod:`.paths`: what a path answers;
- :mod:`.counting`: metrics;
- :mod:`.office`: all of these together, beside a server.
"""
