"""What a team puts beside a server: a Grafana dashboard, alert rules, a scrape configuration."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from experiments.runs import write_atomic

SHIPPED = ("alerts.yml", "dashboard.json")
SCRAPE = """\
# Prometheus beside `batchwright serve`: prometheus --config.file=prometheus.yml
global:
  scrape_interval: 15s
  evaluation_interval: 15s
rule_files:
  - alerts.yml
scrape_configs:
  - job_name: batchwright
    # where the server wants a token: authorization: {{ credentials_file: FILE }}
    static_configs:
      - targets: ["{target}"]
"""


def shipped(name: str) -> str:
    """The text of a file that comes with the package."""
    return (files("experiments.serving") / "shipped" / name).read_text(encoding="utf-8")


def write(folder: Path, host: str, port: int) -> list[Path]:
    """Write all files into a folder.

    Args:
        folder: made where it is missing.
        host: of the server.
        port: of the server; 0 is not known yet, so that the usual one is written.

    Raises:
        OSError: they cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shown = f"[{host}]" if ":" in host else host
    content = {name: shipped(name) for name in SHIPPED}
    content["prometheus.yml"] = SCRAPE.format(target=f"{shown}:{port or 8000}")
    for name, text in content.items():
        write_atomic(folder / name, text)
    return [folder / name for name in content]


__all__ = ["SHIPPED", "shipped", "write"]
