"""One learner a file; each reads like its spec."""
