"""The live driver as a server: HTTP in front, the same policy object behind, watched by metrics.

One thread does everything that is not serving batches: an event loop reads requests, works through
an instant of the station where one has come or a batch is done, and sends answers.  Nothing is
handed from thread to thread, so that nobody waits for another's turn; the servers are processes of
their own (:mod:`sim.worker`).

- :mod:`.open_inference`: requests and answers of the Open Inference Protocol, without I/O;
- :mod:`.desk`: who waits for which answer, between a station and whatever owns the clock;
- :mod:`.driver`: the event loop around a desk: workers, a timer, arrivals;
- :mod:`.web`: what a path answers, as an ASGI application;
- :mod:`.meters`, :mod:`.drift`: Prometheus metrics, and whether life is still as predicted;
- :mod:`.running`: sockets, signals, and how it ends.
"""
