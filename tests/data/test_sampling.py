"""Batches of an epoch: the same images per step for any number of devices."""

import gc
import multiprocessing
import time
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.utils.data import Dataset

from medtransfer.data.epochs import EpochDataset
from medtransfer.data.sampling import EpochBatches, Epochs, loader, worker_init
from medtransfer.errors import InputError


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("length", [1, 7, 8, 23, 24])
def test_one_device_sees_each_image_once(length: int, drop_last: bool) -> None:
    batches = EpochBatches(length, 8, seed=0, shuffle=True, drop_last=drop_last)
    seen = list(batches)
    assert len(seen) == len(batches)
    flat = [index for batch in seen for index in batch]
    expected = length - length % 8 if drop_last and length >= 8 else length
    assert len(flat) == len(set(flat)) == expected and set(flat) <= set(range(length))
    assert all(len(batch) == 8 for batch in seen[:-1])


@pytest.mark.parametrize(("length", "sizes"), [(9, [9]), (17, [8, 9]), (18, [8, 8, 2]), (16, [8, 8]), (1, [1])])
def test_a_single_image_that_is_left_over_joins_the_batch_before(length: int, sizes: list[int]) -> None:
    apart, joined = (EpochBatches(length, 8, seed=3, shuffle=True, drop_last=False, join_last_image=join) for join in (False, True))
    assert [len(batch) for batch in joined] == sizes and len(joined) == len(sizes)
    assert sum(joined, []) == sum(apart, [])


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("length", [16, 19, 21, 24])
def test_two_devices_together_see_what_one_sees(length: int, shuffle: bool) -> None:
    alone = EpochBatches(length, 8, seed=5, shuffle=shuffle, drop_last=False)
    pair = [EpochBatches(length, 4, seed=5, shuffle=shuffle, drop_last=False, rank=rank, world=2) for rank in (0, 1)]
    for batches in (alone, *pair):
        batches.set_epoch(3)
        assert len(list(batches)) == len(batches)
    steps = [set(batch) for batch in alone]
    shares = [list(batches) for batches in pair]
    assert len(shares[0]) == len(steps)
    for number, step in enumerate(steps):
        parts = [share[number] for share in shares if number < len(share)]
        assert {index for part in parts for index in part} == step
        assert sum(len(part) for part in parts) == len(step)


def test_accumulated_batches_cover_the_same_images() -> None:
    large, small = (list(EpochBatches(48, size, seed=1, shuffle=True, drop_last=True)) for size in (24, 8))
    assert [sorted(batch) for batch in large] == [sorted(sum(small[i : i + 3], [])) for i in (0, 3)]


def test_the_order_depends_on_seed_and_epoch() -> None:
    orders = {}
    for seed, epoch in ((0, 0), (0, 1), (1, 0)):
        batches = EpochBatches(30, 30, seed=seed, shuffle=True, drop_last=False)
        batches.set_epoch(epoch)
        orders[seed, epoch] = tuple(next(iter(batches)))
        assert list(batches) == [list(orders[seed, epoch])]
    assert len(set(orders.values())) == 3
    assert [len(batch) for batch in EpochBatches(19, 4, seed=5, shuffle=True, drop_last=True, rank=1, world=2)] == [4, 4]
    assert list(EpochBatches(5, 3, seed=0, shuffle=False, drop_last=False)) == [[0, 1, 2], [3, 4]]


@pytest.mark.parametrize("wrong", [(0, 4, 0, 1), (4, 0, 0, 1), (4, 4, 1, 1), (1, 1, 0, 2)])
def test_impossible_sizes(wrong: tuple[int, int, int, int]) -> None:
    length, batch_size, rank, world = wrong
    with pytest.raises(ValueError, match="expected batches"):
        EpochBatches(length, batch_size, seed=0, shuffle=True, drop_last=False, rank=rank, world=world)


class Broken(Dataset[int]):
    """A dataset whose item 2 raises an error."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error or InputError("expected a picture in x.png, but it is unreadable; remove it")

    def __getitem__(self, index: int) -> int:
        """Return the index."""
        if index == 2:
            raise self.error
        return index


def error_of(dataset: Broken, workers: int) -> str:
    """Return the text of the error that a loader raises; after it no process is left.

    A reference cycle would keep them, with their memory, until Python looks for garbage, which would take 5 s for each.
    """
    before = set(multiprocessing.active_children())
    gc.disable()
    try:
        list(loader(dataset, EpochBatches(3, 1, seed=0, shuffle=False, drop_last=False), workers, pin=False))
    except type(dataset.error) as error:
        text = str(error)
    else:
        pytest.fail("no error was raised")
    finally:
        gc.enable()
    assert set(multiprocessing.active_children()) == before
    return text


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_of_the_input_is_one_sentence_and_ends_the_workers(workers: int) -> None:
    assert error_of(Broken(), workers) == "expected a picture in x.png, but it is unreadable; remove it"


@pytest.mark.parametrize(("workers", "traced"), [(0, False), (2, True)])
def test_another_error_tells_where_a_worker_raised_it_and_ends_the_workers(workers: int, traced: bool) -> None:
    text = error_of(Broken(ValueError("a fault of the code")), workers)
    assert "a fault of the code" in text and ("in __getitem__" in text) == traced


def test_the_loader_uses_no_global_random_state() -> None:
    state = torch.get_rng_state()
    made = loader(Broken(), EpochBatches(2, 1, seed=0, shuffle=True, drop_last=False), 0, pin=False)
    assert sorted(int(batch) for batch in made) == [0, 1]
    assert torch.equal(torch.get_rng_state(), state)


def test_a_worker_has_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, int]] = []
    monkeypatch.setattr("cv2.setNumThreads", lambda number: asked.append(("cv2", number)))
    monkeypatch.setattr("torch.set_num_threads", lambda number: asked.append(("torch", number)))
    worker_init(0)
    assert asked == [("cv2", 0), ("torch", 1)]


class Numbered(EpochDataset[tuple[int, int]]):
    """Items are their number and the epoch."""

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> tuple[int, int]:
        return index, int(self._epoch)


@pytest.mark.parametrize(("workers", "count"), [(0, None), (0, 2), (2, None), (2, 2)])
def test_epochs_yield_the_batches_of_each_epoch(workers: int, count: int | None) -> None:
    sampler = EpochBatches(10, 3, seed=4, shuffle=True, drop_last=False)
    epochs = Epochs(Numbered(0), sampler, workers, pin=False, last=4, count=count)
    whole = EpochBatches(10, 3, seed=4, shuffle=True, drop_last=False)
    next(epochs.batches(4))  # one that is not gone on with
    for epoch in (1, 2, 4, 4):  # the third is begun, and then not wanted
        whole.set_epoch(epoch)
        expected = list(whole)[:count]
        found = list(epochs.batches(epoch))
        assert [indices.tolist() for indices, _ in found] == expected and len(epochs) == len(expected)
        assert all((seen == epoch).all() for _, seen in found)


@pytest.mark.parametrize(("workers", "count"), [(0, None), (2, 3)])
def test_what_is_done_of_an_epoch_is_left_out(workers: int, count: int | None) -> None:
    def numbers(batches: Iterator[Any]) -> list[list[list[int]]]:
        return [[part.tolist() for part in batch] for batch in batches]

    sampler = EpochBatches(10, 3, seed=4, shuffle=True, drop_last=False)
    epochs = Epochs(Numbered(0), sampler, workers, pin=False, last=3, count=count)
    first, second = (numbers(epochs.batches(epoch)) for epoch in (1, 2))
    for done in (1, 2):
        assert numbers(epochs.batches(1, done)) == first[done:]
        assert numbers(epochs.batches(2)) == second and len(epochs) == len(second)


class Watched(Numbered):
    """Counts the items that were made of each epoch; the first item of epoch 3 cannot be read."""

    def __init__(self) -> None:
        super().__init__(0)
        self.made = torch.zeros(4, dtype=torch.int64).share_memory_()

    def __getitem__(self, index: int) -> tuple[int, int]:
        self.made[int(self._epoch)] += 1
        if index == 0 and int(self._epoch) == 3:
            raise InputError("expected a picture in x.png, but it is unreadable; remove it")
        return super().__getitem__(index)

    def wait(self, epoch: int, items: int) -> None:
        """Wait until so many items were made, and longer, so that one too many is seen."""
        end = time.monotonic() + 60
        while self.made[epoch] < items and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(0.3)
        assert self.made[epoch] == items


@pytest.mark.parametrize(("count", "items"), [(None, 10), (1, 5)])
def test_a_worker_begins_with_the_next_epoch_at_the_last_batch(count: int | None, items: int) -> None:
    images = Watched()
    sampler = EpochBatches(10, 5, seed=0, shuffle=True, drop_last=False)
    epochs = Epochs(images, sampler, 1, pin=False, last=2, count=count)
    batches = epochs.batches(1)
    for _ in range(items // 5):
        assert images.made[2] == 0
        next(batches)  # the end of the epoch is not asked for
    images.wait(2, items)
    assert len(list(epochs.batches(2))) == items // 5
    images.wait(2, items)
    assert images.made.tolist() == [0, items, items, 0]  # epoch 2 is the last


def test_an_error_of_a_begun_epoch_comes_with_its_batches() -> None:
    images = Watched()
    epochs = Epochs(images, EpochBatches(10, 5, seed=0, shuffle=False, drop_last=False), 1, pin=False, last=3)
    assert len(list(epochs.batches(2))) == 2
    images.wait(3, 6)  # the first item fails its batch, the other one is made
    with pytest.raises(InputError, match=r"^expected a picture in x\.png, but it is unreadable; remove it$"):
        list(epochs.batches(3))
