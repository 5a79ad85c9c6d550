from setuptools import find_packages, setup

setup(
    name="apprentice_sim",
    version="0.1.0",
    packages=find_packages(exclude=["test"]),
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/apprentice_sim"]),
        ("share/apprentice_sim", ["package.xml"]),
    ],
    install_requires=["setuptools"],
    zip_safe=True,
    maintainer="The Apprentice developers",
    maintainer_email="maintainers@apprentice-robotics.org",
    description="PyBullet robots, scenes and tasks; SimCell; the pybullet backend; render_node.",
    license="Apache-2.0",
    entry_points={
        "console_scripts": ["render_node = apprentice_sim.render_node:main"],
        "apprentice.backends": ["pybullet = apprentice_sim.pybullet_backend:make_backend"],
    },
)
