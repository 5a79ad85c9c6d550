"""The specs' claims, each run by one command; results stand in experiments/."""
