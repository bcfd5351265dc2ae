"""Servers that fill a batch by requests and tokens, and never wait: what a plan becomes on them."""

from __future__ import annotations

from typing import NamedTuple

from .concession import Concession
from .contract import NotExpressible
from .lengths_routed import Route
from .plan import Lane, Plan, plan_of, single, window
from .setting import Setting
from .terms import Terms, agreed_on, beside_windows, no_window, shared_lanes
from .tier_windows import DOES, knows_tiers, levels_plan

AHEAD = "token_budget_ahead"
"""The kind that forms a batch ahead of the one that runs."""


class TokenBatches(NamedTuple):
    """What to ask of such a server."""

    plan: Plan
    """Windows that do not wait."""
    budget: int | None
    """Tokens of a batch; None where only the number of requests limits it."""
    longest: int

    def tokens(self, route: Route) -> int:
        """``budget``, or as many as the largest batch of a route can have."""
        if self.budget is not None:
            return self.budget
        return route.window.max_batch_size * self.longest_of(route)

    def longest_of(self, route: Route) -> int:
        """The longest length that a route takes."""
        high = route.lane.high
        return self.longest if high is None else min(high, self.longest)


def token_batches(
    setting: Setting, terms: Terms, *others: Concession, nearest: bool
) -> TokenBatches:
    """What a setting becomes on a server that counts tokens and has no timer.

    Raises:
        NotExpressible: lengths are no tokens, or something had to be given up and ``nearest`` was
            not asked for.
    """
    if setting.length_unit != "tokens":
        raise NotExpressible(
            terms.stack,
            f"lengths of the run are in {setting.length_unit}, and {terms.title} counts tokens",
        )
    budget = budget_of(setting)
    found: list[Concession] = []
    if budget is None:
        plan, given_up = _asked(setting, terms)
        found += given_up
    else:
        policy = setting.policy
        plan = single(window(policy.max_batch_size, getattr(policy, "max_wait_ns", 0)))  # type: ignore[attr-defined]
    found += [*shared_lanes(plan, terms), *beside_windows(setting, terms), *others]
    lanes = []
    for lane in plan.lanes:
        greedy, given_up = _at_once(lane, terms)
        lanes.append(greedy)
        found += given_up
    fits = agreed_on(terms.stack, Plan(tuple(lanes)), found, nearest=nearest)
    return TokenBatches(fits, budget, setting.longest)


def _asked(setting: Setting, terms: Terms) -> tuple[Plan, list[Concession]]:
    """The windows asked for, and what they give up; levels, where the stack has those."""
    if not (terms.levels and knows_tiers(setting)):
        plan = plan_of(setting)
        return plan, no_window(setting, plan)
    plan = levels_plan(setting)
    reason = f"{DOES[setting.kind]}, which priorities of {terms.title} cannot do"
    return plan, [Concession(reason, note) for note in plan.notes]


def largest_of(setting: Setting) -> int:
    """The largest batch of any range of lengths."""
    if budget_of(setting) is not None:
        return int(setting.policy.max_batch_size)  # type: ignore[attr-defined]
    return max(lane.window.max_batch_size for lane in plan_of(setting).lanes)


def budget_of(setting: Setting) -> int | None:
    """The limit on the tokens of a batch, where a policy has one that can bind."""
    if setting.kind != AHEAD and (setting.kind != "token_budget" or plan_of(setting).exact):
        return None
    return int(setting.policy.max_tokens)  # type: ignore[attr-defined]


def _at_once(lane: Lane, terms: Terms) -> tuple[Lane, list[Concession]]:
    asked = lane.window
    given_up = []
    if asked.waits:
        given_up.append(
            Concession(
                f"{terms.title} has no timer: it serves what waits as soon as it is free",
                "it never waits for more requests",
            )
        )
    elif asked.preferred:
        given_up.append(
            Concession(
                f"{terms.title} has no preferred batch sizes",
                f"it takes up to {asked.max_batch_size}, and stops at no preferred size",
            )
        )
    return lane._replace(window=window(asked.max_batch_size)), given_up
