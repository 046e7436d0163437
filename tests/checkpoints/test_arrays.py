"""Array pickles: what belongs comes back bit for bit, all else only raises."""

from __future__ import annotations

import copyreg
import os
import pickle
import random
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pti_hub.checkpoints.unpickling.arrays import load_arrays
from pti_hub.errors import WeightsError

DTYPES = st.one_of(
    hnp.boolean_dtypes(),
    hnp.integer_dtypes(endianness="?"),
    hnp.unsigned_integer_dtypes(endianness="?"),
    hnp.floating_dtypes(endianness="?"),
    hnp.complex_number_dtypes(endianness="?", sizes=(64, 128)),
)


ARRAYS = hnp.arrays(DTYPES, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))


FORTRAN_ARRAYS = ARRAYS.map(np.asfortranarray)


PLAIN = st.one_of(st.integers(), st.text(max_size=4), st.none(), st.booleans())


LEAVES = st.one_of(ARRAYS, FORTRAN_ARRAYS, PLAIN)


TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.dictionaries(st.text(max_size=4), inner, max_size=3),
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
    ),
    max_leaves=6,
)


def assert_same(got: Any, want: Any) -> None:
    assert type(got) is type(want)
    if isinstance(want, np.ndarray):
        assert got.dtype == want.dtype
        assert got.shape == want.shape
        assert got.tobytes() == want.tobytes()
        assert got.flags.writeable
    elif isinstance(want, dict):
        assert list(got) == list(want)
        for key in want:
            assert_same(got[key], want[key])
    elif isinstance(want, list | tuple):
        assert len(got) == len(want)
        for got_item, want_item in zip(got, want, strict=True):
            assert_same(got_item, want_item)
    else:
        assert got == want


@given(tree=TREES, protocol=st.sampled_from([3, 4]), numpy_1=st.booleans())
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, tree: Any, protocol: int, numpy_1: bool) -> None:
    data = pickle.dumps(tree, protocol)
    if numpy_1 and protocol == 3:  # names are newline-terminated there, so their length may change
        data = data.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
    path = tmp_path_factory.mktemp("pickle") / "tree.ckpt"
    path.write_bytes(data)
    assert_same(load_arrays(path), tree)


class Reduce:
    """Pickles as a call of `function` with `args`, then optionally a state."""

    def __init__(self, function: Any, *args: Any, state: Any = None) -> None:
        self.reduced = (function, args) if state is None else (function, args, state)

    def __reduce__(self) -> Any:
        return self.reduced


RECONSTRUCT = np.zeros(1).__reduce__()[0]


def filled(shape: tuple[int, ...], dtype: Any, data: Any) -> Reduce:
    return Reduce(RECONSTRUCT, np.ndarray, (0,), b"b", state=(1, shape, dtype, False, data))


def hostile(sentinel: str) -> dict[str, tuple[Any, str]]:
    command = f"open({sentinel!r}, 'w')"
    system = Reduce(os.system, f"touch {sentinel}")
    return {
        "os.system": (system, "system"),
        "eval": (Reduce(eval, command), "builtins.eval"),
        "exec": (Reduce(exec, command), "builtins.exec"),
        "getattr": (Reduce(getattr, "x", "upper"), "builtins.getattr"),
        "numpy.save": (Reduce(np.save, sentinel + ".npy", 1), "save"),
        "numpy.load": (Reduce(np.load, sentinel, None, True), "load"),
        "numpy.fromfile": (Reduce(np.memmap, sentinel, "u1", "w+", 0, 1), "memmap"),
        "numpy.testing": (Reduce(np.testing.runstring, command, {}), "numpy.testing"),
        "numpy.array": (Reduce(np.array, [1]), "array"),
        "numpy.ndarray called": (Reduce(np.ndarray, (1,)), "a call of numpy.ndarray"),
        "nested in a dict": ({"kernel": [np.ones(2), system]}, "system"),
        "object array": (np.array([1, None], dtype=object), "dtype 'O8'"),
        "object array with a call inside": (np.array([system], dtype=object), "dtype 'O8'"),
        "structured array": (np.zeros(1, dtype=[("a", "f4")]), "dtype 'V4'"),
        "sub-array dtype": (
            Reduce(np.dtype, "f4", False, True, state=(3, "<", (0, (2,)), None, None, -1, -1, 0)),
            "structured dtype",
        ),
        "text array": (np.array(["a"]), "dtype 'U1'"),
        "date array": (np.array(["2020-01-01"], dtype="M8[D]"), "dtype 'M8'"),
        "_reconstruct of another class": (Reduce(RECONSTRUCT, np.matrix, (0,), b"b"), "matrix"),
        "_reconstruct of the dtype": (Reduce(RECONSTRUCT, np.dtype, (0,), b"b"), "_reconstruct of"),
        "array never filled in": (Reduce(RECONSTRUCT, np.ndarray, (0,), b"b"), "a bare Array"),
        "array of a list": (filled((1,), np.dtype("f4"), [1.0]), "not numbers"),
        "bare dtype": (np.dtype("f4"), "a bare DType"),
        "set": ({1, 2}, "set"),
        "dict keys": ({(1, 2): 3}, "a dict with a key of type tuple"),
        "array class alone": ([np.ndarray], "a bare type"),
    }


@pytest.mark.parametrize("name", list(hostile("x")))
@pytest.mark.parametrize("protocol", [3, 4])
def test_anything_else_is_refused_by_name(tmp_path: Path, name: str, protocol: int) -> None:
    sentinel = tmp_path / "sentinel"
    value, named = hostile(str(sentinel))[name]
    path = tmp_path / "hostile.ckpt"
    path.write_bytes(pickle.dumps(value, protocol))
    with pytest.raises(WeightsError, match="refused") as caught:
        load_arrays(path)
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == ["hostile.ckpt"]


def test_the_hostile_pickles_do_bite_an_ordinary_unpickler(tmp_path: Path) -> None:
    value, _ = hostile(str(tmp_path / "sentinel"))["eval"]
    pickle.loads(pickle.dumps(value, 4)).close()
    assert (tmp_path / "sentinel").exists()


def test_registered_extensions_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "extension.ckpt"
    copyreg.add_extension("os", "getcwd", 240)
    try:
        data = b"\x80\x03\x82\xf0)R."  # EXT1 240, call with ()
        assert pickle.loads(data) == os.getcwd()  # also fills the cache that find_class never sees
        path.write_bytes(data)
        with pytest.raises(WeightsError, match="an instruction that no such file needs"):
            load_arrays(path)
    finally:
        copyreg.remove_extension("os", "getcwd", 240)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"not a pickle", id="text"),
        pytest.param(b"\x80\x03Pid\n.", id="persistent id"),
        pytest.param(b"\x80\x03Nr" + struct.pack("<I", 2**32 - 1), id="memo of 64 GB"),
        pytest.param(b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"x.", id="length beyond memory"),
        pytest.param(b"\x80\x03" + b"]" * 5000 + b"a" * 4999 + b".", id="nested too deep"),
        pytest.param(b"\x80\x03]q\x00h\x00a.", id="list that holds itself"),
        pytest.param(b"\x80\x03cnumpy\ndtype\n}U\x05valueNsb.", id="state for a class"),
        pytest.param(pickle.dumps(filled((-1, -4), np.dtype("f4"), b"x" * 16), 3), id="negative shape"),
        pytest.param(pickle.dumps(filled((9,), np.dtype("f4"), b"x" * 16), 3), id="shape beyond content"),
    ],
)
def test_damaged_files(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "damaged.ckpt"
    path.write_bytes(data)
    with pytest.raises(WeightsError, match="pti-hub weights") as caught:
        load_arrays(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"absent\.ckpt.*pti-hub weights"):
        load_arrays(tmp_path / "absent.ckpt")


TREE = {
    "net": {"kernel": np.arange(24.0).reshape(2, 3, 4), "bias": np.zeros(4, "f4")},
    "n": [np.ones((), "i8")],
}


@pytest.mark.parametrize("protocol", [3, 4])
def test_truncation_anywhere(tmp_path: Path, protocol: int) -> None:
    data = pickle.dumps(TREE, protocol)
    path = tmp_path / "cut.ckpt"
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(WeightsError):
            load_arrays(path)


def test_flipped_bytes_never_escape(tmp_path: Path) -> None:
    data = pickle.dumps(TREE, 3)
    path = tmp_path / "flipped.ckpt"
    rng = random.Random(0)
    refused = 0
    for _ in range(500):
        damaged = bytearray(data)
        for _ in range(rng.randint(1, 3)):
            damaged[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(damaged)
        try:
            load_arrays(path)  # a flip inside an array's own numbers can't be noticed
        except WeightsError:
            refused += 1
    assert refused > 100


def test_shared_parts_stay_shared_and_take_linear_time(tmp_path: Path) -> None:
    tree: Any = np.ones(3)
    for _ in range(60):  # 2^60 arrays, were each path walked
        tree = [tree, tree]
    path = tmp_path / "shared.ckpt"
    path.write_bytes(pickle.dumps(tree, 3))
    loaded = load_arrays(path)
    assert loaded[0] is loaded[1]
