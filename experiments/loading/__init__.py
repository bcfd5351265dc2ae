"""Load that is sent to a server over HTTP, and what is made of the answers.

- :mod:`.sending`, :mod:`.http_answers`: an open-loop generator in a process of its own;
- :mod:`.echo`: a bare server, for what the client alone costs.
"""
