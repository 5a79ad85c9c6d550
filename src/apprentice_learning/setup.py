from setuptools import find_packages, setup

setup(
    name="apprentice_learning",
    version="0.1.0",
    packages=find_packages(exclude=["test"]),
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/apprentice_learning"]),
        ("share/apprentice_learning", ["package.xml"]),
    ],
    install_requires=["setuptools"],
    zip_safe=True,
    maintainer="The Apprentice developers",
    maintainer_email="maintainers@apprentice-robotics.org",
    description="Networks, algorithms, rewards, data views and the policy runner.",
    license="Apache-2.0",
    entry_points={"console_scripts": []},
)
