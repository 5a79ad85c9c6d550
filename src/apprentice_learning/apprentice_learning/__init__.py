"""Networks, algorithms, rewards, data views and the policy runner."""
