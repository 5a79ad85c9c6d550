"""Encoders, heads and the policy network (spec 000 section 2.9, spec 001b section 0)."""
