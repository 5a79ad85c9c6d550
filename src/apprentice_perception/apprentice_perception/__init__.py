"""Camera and force nodes."""
