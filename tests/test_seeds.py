"""Derived seeds, and the global random states."""

import hashlib
import random

import numpy as np
import torch

from medtransfer.seeds import derive_seed, seed_everything


def test_a_seed_is_the_hash_of_its_parts() -> None:
    expected = int.from_bytes(hashlib.blake2b(b"(7, 'epoch', 3)", digest_size=8).digest(), "little") // 2
    assert derive_seed(7, "epoch", 3) == expected


def test_seeds_differ_by_value_type_and_order_of_parts() -> None:
    parts: list[tuple[int | str, ...]] = [(1, 2), (2, 1), (12,), ("1", 2), (1, "2"), (1, 2, 0), (), (1,)]
    assert len({derive_seed(*part) for part in parts}) == len(parts)


def test_seeds_fit_into_a_signed_64_bit_number() -> None:
    seeds = [derive_seed(number) for number in range(200)]
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert max(seeds) > 2**62  # and use the range


def test_the_global_seed_sets_every_generator() -> None:
    def draw() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), float(torch.rand(()))

    seed_everything(2**40 + 1)  # numpy takes 32 bits only
    first = draw()
    assert draw() != first
    seed_everything(2**40 + 1)
    assert draw() == first
