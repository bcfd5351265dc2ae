"""Whether a plan is one: rules 6 and 11 of the conformance suite."""

from __future__ import annotations

from typing import Any

import numpy as np

from policies.contract import NOBODY, PolicyError

from .contract import FREE, GIVEN, JOINED, LEFT, PLAN_CELLS, View, blocks_for
from .random_batch import RandomBatch


def demand(holds: bool, number: int, sentence: str, rule: Any) -> None:
    """Raise ``PolicyError`` with the number of the rule, unless it holds."""
    if not holds:
        raise PolicyError(f"rule {number}: {type(rule).__name__} {sentence}: {rule!r}")


def check_plan(batch: RandomBatch, clean: View, view: View) -> None:
    """Rules 6 and 11."""
    rule, running, count = batch.rule, clean.running, int(view.plan[JOINED])
    left = int(view.leaves[:running].sum())
    fits = 0 <= count <= clean.most and running - left + count <= clean.most
    demand(fits, 6, f"let {count} in beside {running - left}, of {clean.most} places", rule)
    joins, lanes = view.joins[:count].tolist(), [list(lane) for lane in batch.lanes]
    for who in joins:
        heads = [lane for lane in lanes if lane and lane[0] == who]
        demand(bool(heads), 6, f"admitted request {who}, which is not the first of a lane", rule)
        heads[0].pop(0)
    stay = [k for k in range(running) if not view.leaves[k]]
    pairs = [(int(clean.order[k]), int(view.tokens[k])) for k in stay]
    pairs += list(zip(joins, view.join_tokens[:count].tolist(), strict=True))
    for who, tokens in pairs:
        most = int(clean.prompt[who] + clean.generated[who] - clean.computed[who])
        sentence = f"gave request {who} {tokens} tokens, and {most} remain"
        demand(0 <= tokens <= most, 6, sentence, rule)
    demand(any(tokens for _, tokens in pairs), 6, "planned an iteration without tokens", rule)
    goes = [int(clean.order[k]) for k in range(running) if view.leaves[k]]
    cells = np.zeros(PLAN_CELLS, dtype=np.int64)
    cells[FREE] = clean.plan[FREE] + sum(int(clean.held[who]) for who in goes)
    cells[FREE] -= sum(blocks_for(clean, who, tokens) for who, tokens in pairs if tokens)
    demand(cells[FREE] >= 0, 6, f"gave {-cells[FREE]} blocks more than are free", rule)
    cells[JOINED], cells[LEFT], cells[GIVEN] = count, left, sum(tokens for _, tokens in pairs)
    for name, cell in (("free blocks", FREE), ("preempted", LEFT), ("tokens", GIVEN)):
        sentence = f"counts {view.plan[cell]} for its {name}, which are {cells[cell]}"
        demand(view.plan[cell] == cells[cell], 11, sentence, rule)
    fronts = [lane[0] if lane else NOBODY for lane in lanes]
    same = view.waiting.tolist() == list(map(len, lanes)) and view.front.tolist() == fronts
    demand(same, 11, "changed lanes otherwise than by `admit`", rule)
