from setuptools import find_packages, setup

setup(
    name="apprentice_core",
    version="0.1.0",
    packages=find_packages(exclude=["test"]),
    package_data={"apprentice_core": ["fastdds.xml"]},
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/apprentice_core"]),
        ("share/apprentice_core", ["package.xml"]),
    ],
    install_requires=["setuptools"],
    zip_safe=True,
    maintainer="The Apprentice developers",
    maintainer_email="maintainers@apprentice-robotics.org",
    description="Contracts of the Apprentice suite: cell, spaces, episode, bundle format, image pipeline, config.",
    license="Apache-2.0",
    entry_points={"console_scripts": []},
)
