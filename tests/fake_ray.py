"""Stands for ``ray.serve`` so that exported applications can be loaded where Ray is missing.

It has what they use: ``deployment`` with ``options`` and ``bind``, ``batch`` with its setters, and
handles whose ``remote`` calls the object at once.
"""

from __future__ import annotations

import asyncio
import sys
import types


class Bound:
    """What ``bind`` gives: an object, called through a handle."""

    def __init__(self, cls, name, args):
        self.name = name
        self.object = cls(*args)

    async def remote(self, item):
        return await self.object(item)


class Deployment:
    """A class that is deployed under a name."""

    def __init__(self, cls, name=None):
        self.func_or_class, self.name = cls, name or cls.__name__

    def options(self, name):
        return Deployment(self.func_or_class, name)

    def bind(self, *args):
        return Bound(self.func_or_class, self.name, args)


def batch(**numbers):
    """A decorator with the numbers of ``serve.batch``; every call is a batch of one."""
    assert set(numbers) == {"max_batch_size", "batch_wait_timeout_s", "max_concurrent_batches"}

    def decorate(function):
        class Batched:
            def __init__(self):
                self.numbers = dict(numbers)

            def __get__(self, instance, _owner):
                async def one(item):
                    return (await function(instance, [item]))[0]

                one.set_max_batch_size = lambda n: self.numbers.update(max_batch_size=n)
                one.set_batch_wait_timeout_s = lambda s: self.numbers.update(batch_wait_timeout_s=s)
                one.numbers = self.numbers
                return one

        return Batched()

    return decorate


def loaded(text, monkeypatch):
    """The module of an exported ``app.py``, under the name that its configuration uses."""
    serve = types.ModuleType("ray.serve")
    serve.deployment, serve.batch = Deployment, batch
    ray = types.ModuleType("ray")
    ray.serve = serve
    app = types.ModuleType("app")
    for name, module in (("ray", ray), ("ray.serve", serve), ("app", app)):
        monkeypatch.setitem(sys.modules, name, module)
    exec(compile(text, "app.py", "exec"), app.__dict__)
    return app


class Request:
    """A request over HTTP with a JSON body."""

    def __init__(self, item):
        self.item = item

    async def json(self):
        return self.item


def answered(bound, item):
    """What an application answers."""
    return asyncio.run(bound.object(Request(item)))
