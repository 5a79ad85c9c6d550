"""Plugs and sockets: their geometry and physics (`connector`), three industrial presets, and the procedural family of chapter 10."""

from __future__ import annotations

from apprentice_core.errors import ConfigError
from apprentice_sim.connectors.connector import Connector
from apprentice_sim.connectors.presets import PRESETS

__all__ = ["PRESETS", "Connector", "find_connector"]


def find_connector(name: str) -> Connector:
    """ConfigError lists the presets when there is no such connector."""
    if name not in PRESETS:
        raise ConfigError(name, "connector", f"unknown; known: {', '.join(sorted(PRESETS))}")
    return PRESETS[name]
