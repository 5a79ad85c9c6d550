"""What a person is told when the set-up cannot go on."""

from __future__ import annotations


class SetupError(Exception):
    """One readable text: what is missing and how to get it."""
