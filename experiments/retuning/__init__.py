"""Tuning from what a server saw: its own record of requests, or what Prometheus kept of it.

What is found becomes an ordinary scenario in the folder of the run, with a file of requests and,
where the device is not the profile's, a profile beside it: the run can be repeated without the
server.
"""
