"""Kept for imports of before; the statistics live in core, where Studio finds them too."""

from apprentice_core.statistics import Proportion, percentile, wilson

__all__ = ["Proportion", "percentile", "wilson"]
