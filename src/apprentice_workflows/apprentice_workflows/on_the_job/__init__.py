"""Chapter 10 in the simulated family of connectors: collection, reward accuracy, practice on new connectors (spec 001c section 4)."""
