"""Kinematics, the ArmLoop with its safety chain, base controllers; arm_node."""
