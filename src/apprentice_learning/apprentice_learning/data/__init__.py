"""Views, samplers and batches."""
