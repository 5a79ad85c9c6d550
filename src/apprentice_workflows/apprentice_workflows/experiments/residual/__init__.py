"""Experiments A-E1 to A-E5 of residual reinforcement learning on block assembly (spec 001c section 2.5)."""
