"""Wheels and projects made in milliseconds, without an index and without a build backend from one."""

import zipfile
from pathlib import Path

# A build backend in the project's own directory: it makes a wheel of `lib.py`.
BACKEND = """
import os, zipfile
def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    name = f"{NAME}-{VERSION}-{TAG}.whl"
    with zipfile.ZipFile(os.path.join(wheel_directory, name), "w") as archive:
        def write(path, text):
            archive.writestr(zipfile.ZipInfo(path), text)
        write("lib.py", open("lib.py").read())
        write(f"{NAME}-{VERSION}.dist-info/METADATA", f"Metadata-Version: 2.1\\nName: {NAME}\\nVersion: {VERSION}\\n")
        write(f"{NAME}-{VERSION}.dist-info/WHEEL", f"Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: {TAG}\\n")
        write(f"{NAME}-{VERSION}.dist-info/RECORD", "")
    return name
"""


def wheel(
    directory: Path, name: str, version: str, *needs: str, tag: str = "py3-none-any", text: str = ""
) -> Path:
    """A wheel with one module; `needs` are its requirements."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{name}-{version}-{tag}.whl"
    metadata = [
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}",
        *(f"Requires-Dist: {need}" for need in needs),
    ]
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        for file, content in (
            (f"{name}.py", text),
            (f"{info}/METADATA", "\n".join(metadata) + "\n"),
            (f"{info}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n"),
            (f"{info}/RECORD", ""),
        ):
            archive.writestr(zipfile.ZipInfo(file), content)
    return path


def project(
    directory: Path, name: str = "shoplib", *, tag: str = "py3-none-any", text: str = "STATE = 1\n"
) -> Path:
    """A project that `uv build` turns into a wheel."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "pyproject.toml").write_text(
        f'[project]\nname = "{name}"\nversion = "0.1"\n'
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    (directory / "backend.py").write_text(f'NAME, VERSION, TAG = "{name}", "0.1", "{tag}"\n{BACKEND}')
    (directory / "lib.py").write_text(text)
    return directory
