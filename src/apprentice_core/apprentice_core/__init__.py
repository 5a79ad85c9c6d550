"""Contracts of the Apprentice suite: cell, spaces, episode, bundle format, image pipeline, config."""
