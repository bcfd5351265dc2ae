"""One policy on one scenario: ``simulate("bert")``."""

from .compare import simulate

__all__ = ["simulate"]
