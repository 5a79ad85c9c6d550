"""Networks, algorithms, data views, the trainer and the policy runner. torch, no ROS."""
