"""Learning while acting: committed episodes in, policy bundles out (spec 001c sections 2.2 and 3.4)."""
