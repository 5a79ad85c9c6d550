from setuptools import find_packages, setup

setup(
    name="apprentice_studio",
    version="0.1.0",
    packages=find_packages(exclude=["test"]),
    package_data={"apprentice_studio": ["static/*", "static/**/*"]},
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/apprentice_studio"]),
        ("share/apprentice_studio", ["package.xml"]),
    ],
    install_requires=["setuptools"],
    zip_safe=False,
    maintainer="The Apprentice developers",
    maintainer_email="maintainers@apprentice-robotics.org",
    description="Studio: browse, sketch, judge and watch in a browser.",
    license="Apache-2.0",
    entry_points={"console_scripts": []},
)
