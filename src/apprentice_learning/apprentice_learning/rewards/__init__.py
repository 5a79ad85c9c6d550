"""Rewards learned from people: the sketch model, relabelling, delusions (spec 000 sections 2.7, 2.8 and 2.12)."""
