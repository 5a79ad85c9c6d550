"""PyBullet robots, scenes and tasks; SimCell; the pybullet backend; render_node."""
