"""Bags, catalogue, annotations, manifests and the replay cache."""
