"""Names are broken where they may be, and no letter is lost."""

import pytest

from medtransfer.report.format import fold


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("unet-simple e010", ["unet-simple e010"]),
        ("unet-simple e000 (random)", ["unet-simple e000", "(random)"]),
        ("random@tf_efficientnet_lite0", ["random@tf_", "efficientnet_lite0"]),
        ("abcdefghijklmnopqrstuvwxyz", ["abcdefghijklmnopqrst", "uvwxyz"]),
        ("runs/abcdefghijklmnopqrstuvwxyz.safetensors@unet",
         ["runs/", "abcdefghijklmnopqrst", "uvwxyz.safetensors@", "unet"]),
    ],
)  # fmt: skip
def test_a_name_is_broken_into_lines(name: str, lines: list[str]):
    assert fold(name, 20).split("\n") == lines
    assert "".join(lines).replace(" ", "") == name.replace(" ", "")
