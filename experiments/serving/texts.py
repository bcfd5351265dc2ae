"""Text as the tokens of a model, where its own tokenizer lies beside its weights."""

from __future__ import annotations

import importlib
from typing import Any

from .inputs import RequestError

TEXT = "text"


class Texts:
    """A tokenizer."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def ids(self, text: bytes) -> list[int]:
        """Tokens of a text, with those that the model wants around it.

        Raises:
            RequestError: it is no UTF-8, or no token.
        """
        try:
            found: list[int] = self._tokenizer.encode(text.decode()).ids
        except UnicodeDecodeError:
            raise RequestError(f"{TEXT} must be UTF-8") from None
        if not found:
            raise RequestError(f"{TEXT} has no token")
        return found


def texts_of(file: str, longest: int | None) -> Texts | str:
    """The tokenizer of a file, or why there is none.

    Args:
        file: a ``tokenizer.json``; empty: the model has none.
        longest: tokens of a text, whose end is cut off; None: it is as long as it is.
    """
    if not file:
        return "has no tokenizer, so that it takes no text"
    try:
        tokenizers = importlib.import_module("tokenizers")
    except ImportError:
        return "takes no text, since tokenizers is not installed (pip install tokenizers)"
    try:
        tokenizer = tokenizers.Tokenizer.from_file(file)
    except Exception as error:  # noqa: BLE001 - it raises Exception itself
        return f"takes no text, since {file} cannot be read: {' '.join(str(error).split())}"
    tokenizer.no_padding()
    if longest is None:
        tokenizer.no_truncation()
    else:
        tokenizer.enable_truncation(longest)
    return Texts(tokenizer)
