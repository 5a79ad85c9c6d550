"""Connector insertion (spec 001c): method cells, training runs, trials, tables."""
