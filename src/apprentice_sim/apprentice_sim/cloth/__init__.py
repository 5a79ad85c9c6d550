"""A cloth beside PyBullet's rigid world: dynamics, contacts, its place in a World, and its pixels."""

from __future__ import annotations

from apprentice_sim.cloth.dynamics import Cloth, ClothDynamics, ClothState

__all__ = ["Cloth", "ClothDynamics", "ClothState"]
