from setuptools import find_packages, setup

setup(
    name="apprentice_runtime",
    version="0.1.0",
    packages=find_packages(exclude=["test"]),
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/apprentice_runtime"]),
        ("share/apprentice_runtime", ["package.xml"]),
    ],
    install_requires=["setuptools"],
    zip_safe=True,
    maintainer="The Apprentice developers",
    maintainer_email="maintainers@apprentice-robotics.org",
    description="Episode, policy, reward, scripted, teleop, mux, reset, recorder and replay nodes; RosCell.",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "episode_node = apprentice_runtime.episode_node:main",
            "mux_node = apprentice_runtime.mux_node:main",
            "policy_node = apprentice_runtime.policy_node:main",
            "recorder_node = apprentice_runtime.recorder_node:main",
            "replay_node = apprentice_runtime.replay_node:main",
            "reset_node = apprentice_runtime.reset_node:main",
            "reward_node = apprentice_runtime.reward_node:main",
            "scripted_node = apprentice_runtime.scripted_node:main",
            "supervisor_node = apprentice_runtime.supervisor_node:main",
            "teleop_node = apprentice_runtime.teleop_node:main",
        ],
    },
)
