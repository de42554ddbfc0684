"""The pack for machines with a GPU and without a package index: what goes into it."""

import zipfile

import pytest
from packaging.requirements import Requirement

from tools import gpu_pack

NEEDED = [Requirement("torch>=2.13,<3"), Requirement("trl>=1.16,<1.17"), Requirement("numpy>=2.4,<3")]


def test_it_takes_along_what_the_machine_lacks_or_has_in_another_version():
    installed = gpu_pack.installed_packages(["torch==2.11.0", "TRL==1.15.0", "numpy==2.5.2", "hf_xet", ""])
    resolved = {"torch": "2.13.0", "trl": "1.16.0", "numpy": "2.4.6", "hf-xet": "1.8.0", "dill": "0.4.1"}
    missing = gpu_pack.missing_packages(installed, resolved, NEEDED)
    assert missing == ["trl==1.16.0", "dill==0.4.1"], "torch is the machine's own, and numpy in its range"


def test_of_bitsandbytes_the_libraries_of_one_cuda_stay(tmp_path):
    wheel = tmp_path / "bitsandbytes-0.whl"
    names = ["b/libbitsandbytes_cpu.so", "b/libbitsandbytes_cuda118.so", "b/libbitsandbytes_cuda130.so", "b/nn.py"]
    with zipfile.ZipFile(wheel, "w") as file:
        for name in names:
            file.writestr(name, name)
    gpu_pack.keep_one_cuda(wheel, "130")
    with zipfile.ZipFile(wheel) as file:
        assert file.namelist() == [name for name in names if "118" not in name]
        assert file.read("b/nn.py") == b"b/nn.py"
    with pytest.raises(SystemExit, match="has no library for CUDA 999"):
        gpu_pack.keep_one_cuda(wheel, "999")


def test_the_parts_make_the_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_pack, "PART_BYTES", 4)
    (tmp_path / "whole").write_bytes(b"0123456789")
    parts = gpu_pack.split(tmp_path / "whole", tmp_path)
    assert [part.name for part in parts] == ["part-00", "part-01", "part-02"]
    assert b"".join(part.read_bytes() for part in parts) == b"0123456789"
