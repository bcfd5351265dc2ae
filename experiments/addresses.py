"""Addresses of databases, as they may be shown: never with a password."""

from __future__ import annotations

import re

HIDDEN = "***"
"""Stands where a password was."""

BEHIND_USER = re.compile(r"(://[^/?#:@]*:).*@")
"""Up to the last ``@``: signs in a password that should have been escaped stay hidden too."""

IN_QUERY = re.compile(r"([?&](?:\w*password|passwd|pwd)=)[^&\s]*", re.IGNORECASE)


def without_password(text: str) -> str:
    """An address, or any text with one in it, with ``***`` for the password."""
    return IN_QUERY.sub(rf"\1{HIDDEN}", BEHIND_USER.sub(rf"\1{HIDDEN}@", text))
