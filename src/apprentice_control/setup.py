from setuptools import find_packages, setup

setup(
    name="apprentice_control",
    version="0.1.0",
    packages=find_packages(exclude=["test"]),
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/apprentice_control"]),
        ("share/apprentice_control", ["package.xml"]),
    ],
    install_requires=["setuptools"],
    zip_safe=True,
    maintainer="The Apprentice developers",
    maintainer_email="maintainers@apprentice-robotics.org",
    description="Kinematics, the ArmLoop with its safety chain, base controllers; arm_node.",
    license="Apache-2.0",
    entry_points={"console_scripts": ["arm_node = apprentice_control.arm_node:main"]},
)
