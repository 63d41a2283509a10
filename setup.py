"""Install one name, `backproof`, with the folders that lie beside it in a checkout."""

from setuptools import find_packages, setup

FOLDERS = ("backends", "cases", "reference", "report")

inside = find_packages(
    include=[pattern for folder in FOLDERS for pattern in (folder, f"{folder}.*")]
)
setup(
    packages=["backproof", *(f"backproof.{package}" for package in inside)],
    package_dir={"backproof": "backproof"} | {f"backproof.{folder}": folder for folder in FOLDERS},
)
