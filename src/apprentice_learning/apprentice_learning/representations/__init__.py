"""Split latents that carry over to unseen domains, and what is learned on them (spec 001c section 4)."""
