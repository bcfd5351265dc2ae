"""The applications that a Ray Serve export consists of: text, and nothing that is imported here.

The batch numbers are no keys of Ray Serve's configuration: ``user_config`` carries them to
``reconfigure``, so that they can be changed without a restart.
"""

from __future__ import annotations

HEAD = '''"""Batches requests for one model on Ray Serve; serve_config.yaml holds the numbers.

`model` names your function as MODULE:NAME: it takes a list of inputs and gives a list of as many
outputs.  `app:echo` stands for it until you change serve_config.yaml.
"""

import asyncio
from importlib import import_module

from ray import serve


def load(path):
    """The function that MODULE:NAME names."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


def echo(batch):
    """Stands for a model: gives back what it gets."""
    return list(batch)


@serve.deployment
class Batcher:
    """One queue with {at_a_time} in execution at a time."""

    def __init__(self, model):
        self.predict = load(model)

    def reconfigure(self, config):
        """Take the batch numbers of user_config."""
        self.run.set_max_batch_size(config["max_batch_size"])
        self.run.set_batch_wait_timeout_s(config["batch_wait_timeout_s"])

    @serve.batch(
        max_batch_size={max_batch_size},
        batch_wait_timeout_s={wait_s},
        max_concurrent_batches={at_a_time},
    )
    async def run(self, items):
        """One batch, in a thread: a model that blocked this loop would change the batching."""
        return await asyncio.to_thread(self.predict, items)

    async def __call__(self, request):
        """One request over HTTP, its input as JSON; or a call with the input itself."""
        item = await request.json() if hasattr(request, "json") else request
        return await self.run(item)
'''

ONE = '''

def build(args):
    """The application of serve_config.yaml."""
    return Batcher.bind(args["model"])
'''

ROUTED = '''

@serve.deployment
class Router:
    """Sends each request to the deployment for its length."""

    def __init__(self, length_of, handles):
        self.length_of = load(length_of)
        self.handles = handles
        self.routes = []

    def reconfigure(self, config):
        """Take the rule of user_config."""
        self.routes = config["routes"]

    async def __call__(self, request):
        """One request over HTTP, its input as JSON."""
        item = await request.json()
        return await self.handles[deployment_for(self.routes, self.length_of(item))].remote(item)


def deployment_for(routes, length):
    """The name of the deployment for a request of this length."""
    for route in routes:
        if route["up_to"] is None or length <= route["up_to"]:
            return route["deployment"]
    raise ValueError(f"no deployment takes the length {length}")


def size_of(item):
    """Stands for the length of an input: change length_of in serve_config.yaml to your own."""
    return len(item)


def build(args):
    """The application of serve_config.yaml."""
    names = args["deployments"]
    handles = {name: Batcher.options(name=name).bind(args["model"]) for name in names}
    return Router.bind(args["length_of"], handles)
'''

TIERS = '''

@serve.deployment
class Router:
    """Sends each request to the deployment for its tier and its length."""

    def __init__(self, tier_of, length_of, handles):
        self.tier_of = load(tier_of)
        self.length_of = load(length_of) if length_of else lambda item: 0
        self.handles = handles
        self.routes, self.default_tier = [], None

    def reconfigure(self, config):
        """Take the rule of user_config."""
        self.routes, self.default_tier = config["routes"], config["default_tier"]

    async def __call__(self, request):
        """One request over HTTP, its input as JSON."""
        item = await request.json()
        tier = self.tier_of(item) or self.default_tier
        name = deployment_for(self.routes, tier, self.length_of(item))
        return await self.handles[name].remote(item)


def deployment_for(routes, tier, length):
    """The name of the deployment for a request of this tier and length."""
    for route in routes:
        if route["tier"] == tier and (route["up_to"] is None or length <= route["up_to"]):
            return route["deployment"]
    raise ValueError(f"no deployment takes the tier {tier} with the length {length}")


def tier_of(item):
    """Stands for the tier of an input: change tier_of in serve_config.yaml to your own."""
    return item.get("tier") if isinstance(item, dict) else None


def size_of(item):
    """Stands for the length of an input: change length_of in serve_config.yaml to your own."""
    return len(item)


def build(args):
    """The application of serve_config.yaml."""
    names = args["deployments"]
    handles = {name: Batcher.options(name=name).bind(args["model"]) for name in names}
    return Router.bind(args["tier_of"], args.get("length_of"), handles)
'''


def app(
    max_batch_size: int, wait_s: str, at_a_time: int = 1, *, routed: bool, tiers: bool = False
) -> str:
    """The text of ``app.py``.

    Args:
        max_batch_size: of the decorator, which ``user_config`` overrides.
        wait_s: of the decorator, as Python writes it.
        at_a_time: how many batches a replica runs at a time, which only the decorator can say.
        routed: whether several deployments stand behind a router.
        tiers: whether that router knows tiers.
    """
    batches = "one batch" if at_a_time == 1 else f"{at_a_time} batches"
    numbers = {
        "{max_batch_size}": str(max_batch_size),
        "{wait_s}": wait_s,
        "with {at_a_time} in execution at a time": f"with {batches} in execution",
        "{at_a_time}": str(at_a_time),
    }
    head = HEAD
    for mark, number in numbers.items():
        head = head.replace(mark, number)
    if tiers:
        return head + TIERS
    return head + (ROUTED if routed else ONE)
