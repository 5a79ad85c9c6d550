"""Interactive insertion (spec 000 section 2.14): actor, policy learner, reward learner and sketches at once."""
