"""Episode, policy, reward, scripted, teleop, mux, reset, recorder and replay nodes; RosCell."""
