"""The router before Triton models for ranges of length: a rule, and a function that follows it."""

from __future__ import annotations

import json

from .lengths_routed import routes
from .plan import Plan
from .setting import Setting

ROUTER = '''"""Sends a request to the model for its length, as router.json says."""

import json
from pathlib import Path

ROUTES = json.loads(Path(__file__).with_name("router.json").read_text())["models"]


def model_of(length):
    """The name of the model for a request of this length."""
    for route in ROUTES:
        if route["up_to"] is None or length <= route["up_to"]:
            return route["model"]
    raise ValueError(f"no model takes the length {length}")
'''


def router(setting: Setting, plan: Plan) -> dict[str, str]:
    """The rule of the router, and a function that follows it."""
    rule = {
        "length_unit": setting.length_unit,
        "models": [
            {"up_to": route.lane.high, "model": route.model} for route in routes(setting, plan)
        ],
        "about": list(setting.lines()),
    }
    return {"router.json": json.dumps(rule, indent=2) + "\n", "router.py": ROUTER}
