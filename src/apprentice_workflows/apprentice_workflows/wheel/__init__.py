"""The data-driven wheel of spec 000: demonstrations, sketches, reward model, batch RL, execution, repair, evaluation, again."""
