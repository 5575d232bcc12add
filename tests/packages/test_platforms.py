"""Platforms of targets and images."""

from __future__ import annotations

import pytest

from amlexec.errors import TargetError
from amlexec.packages.platforms import Platform, of_image, of_target
from amlexec.values import Place


class TestPlatforms:
    def test_of_an_image(self) -> None:
        assert of_image("linux", "amd64") == Platform("linux-64")
        assert of_image("linux", "arm64", glibc="2.31").uv_platform == "aarch64-manylinux_2_31"
        for system, architecture in (("windows", "amd64"), ("linux", "riscv64")):
            with pytest.raises(TargetError, match=f"no environment can be made for {system}/{architecture}"):
                of_image(system, architecture)

    def test_of_a_target(self) -> None:
        from amlexec.values import ComputeTarget

        remote = ComputeTarget("r", "remotedocker", Place(""))
        assert of_target(remote) == Platform("linux-64")
        assert of_target(remote._replace(nvidia_docker=True)).cuda

    def test_wheels(self) -> None:
        tags = Platform("linux-64", "2.17").wheel_platforms
        assert tags[:2] == ("manylinux_2_17_x86_64", "manylinux2014_x86_64")
        assert tags[-1] == "linux_x86_64"
        assert Platform("linux-64", "2.20").uv_platform == "x86_64-manylinux_2_17"
        with pytest.raises(TargetError, match="cannot be resolved for linux-ppc64le"):
            _ = Platform("linux-ppc64le").uv_platform
