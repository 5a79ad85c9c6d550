from setuptools import find_packages, setup

setup(
    name="apprentice_workflows",
    version="0.1.0",
    packages=find_packages(exclude=["test"]),
    package_data={"apprentice_workflows": ["templates/*.j2"]},
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/apprentice_workflows"]),
        ("share/apprentice_workflows", ["package.xml"]),
    ],
    install_requires=["setuptools"],
    zip_safe=True,
    maintainer="The Apprentice developers",
    maintainer_email="maintainers@apprentice-robotics.org",
    description="The command line and the loops: demo, collect, train, evaluate, bench.",
    license="Apache-2.0",
    entry_points={"console_scripts": ["apprentice = apprentice_workflows.cli.app:main"]},
)
