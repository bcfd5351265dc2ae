"""Small scenarios for tests of the tuner: written as files, so that every key is checked."""

from __future__ import annotations

from experiments.config import load_scenario

TILE8 = ", ".join(f"{2 + 2.8 * -(-k // 8):.1f}" for k in range(1, 33))

SMALL = """
name = "small"
[workload]
requests = {requests}
arrivals = {{ process = "poisson", load = {load} }}
{tiers}
[service]
model = {model}
servers = {servers}
{service}
[policies.waits]
kind = "size_or_timeout"
max_batch_size = 32
max_wait_ms = 5.0
{policies}
[tune]
{tune}
"""

LINE = "{ base_ms = 2.0, per_request_ms = 0.35, max_batch_size = 32 }"
TILES = f"{{ table_ms = [{TILE8}] }}"


def small(folder, tune="", **parts):
    """A scenario of one server; ``parts`` replace pieces of its file."""
    pieces = {
        "requests": 20_000, "load": 0.5, "tiers": "", "model": LINE, "servers": 1, "service": "",
        "policies": "",
    }  # fmt: skip
    path = folder / "small.toml"
    path.write_text(SMALL.format(tune=tune, **(pieces | parts)))
    return load_scenario(path)
