"""What encoders of text and speech take and give; no torch is imported here."""

from __future__ import annotations

from pathlib import Path

from profiles.runner import Contract, Port

IDS, MASK, TYPES, AUDIO = "input_ids", "attention_mask", "token_type_ids", "audio"
ANY = (1, -1)
TOKENIZER = "tokenizer.json"


def embedding(width: int = -1) -> Port:
    """One vector for each request."""
    return Port("embedding", "FP32", (1, width))


def text_contract(
    words: int, longest: int, *, width: int = -1, segments: int = 1, tokenizer: str = ""
) -> Contract:
    """Token ids to an embedding.

    Args:
        words: ids go from 0 to one below.
        longest: tokens of a request.
        width: of the embedding.
        segments: how many kinds of tokens there may be.
        tokenizer: a file, where there is one.
    """
    inputs = (
        Port(IDS, "INT64", ANY, least=0, most=words - 1),
        Port(MASK, "INT64", ANY, required=False, least=0, most=1, somewhere=True),
        Port(TYPES, "INT64", ANY, required=False, least=0, most=segments - 1),
    )
    return Contract(inputs, (embedding(width),), longest=longest, tokenizer=tokenizer)


def wave_contract(
    name: str, rate: int, fewest: int, longest_ms: int, output: Port
) -> Contract:  # fmt: skip
    """The raw wave to something.

    Args:
        name: of the input.
        rate: samples a second.
        fewest: samples that give one frame.
        longest_ms: of a clip.
        output: what comes of it.
    """
    wave = Port(name, "FP32", ANY)
    return Contract((wave,), (output,), fewest=fewest, longest=longest_ms, rate=rate)


def tokenizer_of(*folders: Path) -> str:
    """The file of a tokenizer in the first folder that has one; empty: none has."""
    files = (folder / TOKENIZER for folder in folders)
    return next((str(file.resolve()) for file in files if file.is_file()), "")
