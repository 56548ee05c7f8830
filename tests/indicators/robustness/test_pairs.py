"""Pairs come back from their files, and their scores are the formula on the distances."""

import numpy as np
import pytest

from medtransfer.errors import InputError
from medtransfer.indicators.robustness import DISTANCES
from medtransfer.indicators.robustness.pairs import GROUPS, Pairs, pair_name, read_distances, read_pair, read_pairs, write_pairs
from medtransfer.records import write_values

COUNTS = {(level, pooled): {"zero": 3, "constant": 4} for level in (-2, -1) for pooled in (False, True)}


@pytest.fixture
def pairs() -> Pairs:
    """Return distances of 5 images, 2 repeats, at levels -2 and -1."""
    rng = np.random.default_rng(1)
    keys = [(name, level, pooled) for name in DISTANCES for level in (-2, -1) for pooled in (False, True)]
    tables = [{key: rng.random((2, 5), dtype=np.float32) for key in keys} for _ in range(2)]
    return Pairs(*tables, images=[f"käse {i}#0@0,0" for i in range(5)], groups=np.array([0, 0, 1, 1, 2]))


def test_pairs_round_trip_next_to_other_arrays(pairs, tmp_path):
    path = tmp_path / "new" / "epoch-020.npz"
    write_values(path, pairs.images, {**pairs.arrays(), "another/purity": np.ones(5, np.float32)})
    stored = read_pairs(path)
    assert stored.images == pairs.images and stored.groups.tolist() == [0, 0, 1, 1, 2]
    for table, expected in ((stored.d_pos, pairs.d_pos), (stored.d_neg, pairs.d_neg)):
        assert table.keys() == expected.keys()
        for key, values in table.items():
            assert values.dtype == np.float32
            np.testing.assert_array_equal(values, expected[key])
    assert [file.name for file in path.parent.iterdir()] == ["epoch-020.npz"]


def test_a_pair_of_arrays_is_read_alone(pairs, tmp_path):
    write_pairs(tmp_path / "epoch-020.npz", pairs)
    d_pos, d_neg, groups = read_pair(tmp_path / "epoch-020.npz", "l2", -1, True)
    np.testing.assert_array_equal(d_pos, pairs.d_pos["l2", -1, True])
    np.testing.assert_array_equal(d_neg, pairs.d_neg["l2", -1, True])
    assert groups.tolist() == [0, 0, 1, 1, 2]
    with pytest.raises(InputError, match="level -9, flattened in .* cannot be read"):
        read_pair(tmp_path / "epoch-020.npz", "l2", -9, False)


def test_distances_of_several_keys_are_read_at_once(pairs, tmp_path):
    write_pairs(tmp_path / "epoch-020.npz", pairs)
    keys = [("l2", -1, True), ("l2", -1, False)]
    distances, groups = read_distances(tmp_path / "epoch-020.npz", keys)
    assert list(distances) == keys and groups.tolist() == [0, 0, 1, 1, 2]
    for key in keys:
        np.testing.assert_array_equal(distances[key][0], pairs.d_pos[key])
        np.testing.assert_array_equal(distances[key][1], pairs.d_neg[key])
    with pytest.raises(InputError, match="l2, level -1, pooled and l2, level -9, pooled in .* cannot be read"):
        read_distances(tmp_path / "epoch-020.npz", [keys[0], ("l2", -9, True)])


def test_the_scores_are_the_formula_on_the_pairs(pairs):
    rows = pairs.scores([0.0, 0.5], COUNTS)
    assert len(rows) == len(pairs.d_pos) * 2
    for row in rows:
        key = (row.setting["distance"], row.setting["level"], row.setting["pooled"])
        losses = np.maximum(0, pairs.d_pos[key].astype(float) - pairs.d_neg[key] + row.setting["margin"])  # (2, 5)
        assert row.indicator == "robustness" and row.flags == {"zero": 3, "constant": 4}
        assert row.value == pytest.approx(1 - losses.mean())
        a, b, c, d, e = losses.mean(axis=0) - losses.mean()
        assert row.error == pytest.approx((3 / 2 * ((a + b) ** 2 + (c + d) ** 2 + e**2)) ** 0.5 / 5)  # three patients


@pytest.mark.parametrize("images", [1, 2])
def test_a_single_group_has_no_error(images):
    table = {("cosine", -1, True): np.full((1, images), 0.5, np.float32)}
    (score,) = Pairs(table, table, ["a", "b"][:images], np.zeros(images, np.int64)).scores([0.5], {})
    assert score.value == 0.5 and score.error is None


def test_distances_without_groups_or_with_others_are_refused(pairs, tmp_path):
    arrays = {name: values for name, values in pairs.arrays().items() if name != GROUPS}
    write_values(tmp_path / "epoch-020.npz", pairs.images, arrays)
    with pytest.raises(InputError, match="epoch-020.npz.* cannot be read"):
        read_pair(tmp_path / "epoch-020.npz", "l2", -1, True)
    with pytest.raises(KeyError, match="robustness/groups"):
        Pairs.of(pairs.images, arrays)
    with pytest.raises(ValueError, match=r"the groups are \(4,\), of 5 images"):
        Pairs.of(pairs.images, {**arrays, GROUPS: np.zeros(4, np.int64)})


def test_any_damaged_byte_of_distances_is_reported(tmp_path):
    """A flipped byte shows as one of many errors of zip, zlib and numpy; where it harms nothing, the values are the old ones."""
    rng = np.random.default_rng(0)
    names = [*(pair_name(side, "cosine", -1, False) for side in ("pos", "neg")), GROUPS]
    arrays = {name: rng.random((1, 40), dtype=np.float32) for name in names[:2]} | {GROUPS: np.arange(40) // 3}
    np.savez_compressed(tmp_path / "epoch-001.npz", allow_pickle=False, **arrays)
    whole = (tmp_path / "epoch-001.npz").read_bytes()
    refused = 0
    for place in range(len(whole)):
        damaged = tmp_path / "damaged.npz"
        damaged.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            found = read_pair(damaged, "cosine", -1, False)
        except InputError as error:
            refused += 1
            assert "damaged.npz, but they cannot be read" in str(error)
        else:
            assert all(np.array_equal(one, arrays[name]) for one, name in zip(found, names, strict=True))
    assert refused > 0.8 * len(whole)
