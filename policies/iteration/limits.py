"""How rules of continuous batching check their limits when they are bound."""

from __future__ import annotations

from policies.contract import NEVER
from policies.parameters import require, within

from .contract import Engine


def check_budget(tokens: int, sequences: int, engine: Engine, *, whole: bool) -> None:
    """A budget of tokens holds a token of each sequence; uncut, the longest request as well.

    Raises:
        ValueError: with the rule and the values.
    """
    within("max_num_batched_tokens", tokens, 1)
    require(
        tokens >= sequences,
        "max_num_batched_tokens >= max_num_seqs",
        max_num_batched_tokens=tokens,
        max_num_seqs=sequences,
    )
    if whole:
        require(
            tokens >= engine.longest,
            "max_num_batched_tokens >= the longest request, where prompts are not cut",
            max_num_batched_tokens=tokens,
            longest=engine.longest,
        )


def blocks_of_share(name: str, share: float, engine: Engine, unused: int = 0) -> int:
    """Blocks that a share of the memory stands for; 0 where memory is no limit.

    Args:
        name: of the parameter.
        share: its value.
        engine: what has the memory.
        unused: further blocks, which count and hold nothing: vLLM keeps one for itself.
    """
    require(0.0 <= share < 1.0, f"0 <= {name} < 1", **{name: share})
    return 0 if engine.blocks == NEVER else int(share * (engine.blocks + unused))
