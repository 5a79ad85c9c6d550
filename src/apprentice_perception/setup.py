from setuptools import find_packages, setup

setup(
    name="apprentice_perception",
    version="0.1.0",
    packages=find_packages(exclude=["test"]),
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/apprentice_perception"]),
        ("share/apprentice_perception", ["package.xml"]),
    ],
    install_requires=["setuptools"],
    zip_safe=True,
    maintainer="The Apprentice developers",
    maintainer_email="maintainers@apprentice-robotics.org",
    description="Camera, force, connection and tracker nodes.",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "camera_node = apprentice_perception.camera_node:main",
            "connection_node = apprentice_perception.connection_node:main",
            "force_node = apprentice_perception.force_node:main",
            "tracker_node = apprentice_perception.tracker_node:main",
        ]
    },
)
