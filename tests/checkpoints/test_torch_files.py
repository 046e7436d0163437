"""PyTorch's files and pickles, read without running them: damaged, foreign and hostile ones."""

from __future__ import annotations

import argparse
import io
import pickle
import struct
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.foreign_files import Hostile, importable, write_nvidia
from torch import Tensor

from pti_hub import WeightsError
from pti_hub.checkpoints.unpickling import Record, read_torch_file
from pti_hub.checkpoints.unpickling.arrays import load_arrays
from pti_hub.pipelines.convert import convert


def hostile_files(folder: Path, mark: Path) -> list[Path]:
    """The same command in a plain pickle, a new and an old torch file, in a state, in a nested file; a getattr."""
    bad = Hostile(mark)
    paths = [folder / f"{i}.pkl" for i in range(6)]
    paths[0].write_bytes(pickle.dumps({"G_ema": bad}))
    torch.save({"g_ema": {"a": torch.zeros(2), "b": bad}}, paths[1])
    torch.save({"g_ema": {"a": torch.zeros(2), "b": bad}}, paths[2], _use_new_zipfile_serialization=False)
    paths[3].write_bytes(pickle.dumps(Record_with(bad)))
    nested = io.BytesIO()
    torch.save({"x": bad}, nested, _use_new_zipfile_serialization=False)
    paths[4].write_bytes(b"\x80\x02ctorch.storage\n_load_from_bytes\n" + _short_bytes(nested.getvalue()) + b"\x85R.")
    paths[5].write_bytes(b"\x80\x02cbuiltins\ngetattr\ncos\nU\x06system\x86R.")
    return paths


def Record_with(bad: Hostile) -> Any:
    return argparse.Namespace(command=bad)


def _short_bytes(data: bytes) -> bytes:
    return b"B" + struct.pack("<I", len(data)) + data


def test_a_hostile_file_is_refused_and_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "it-ran"
    for path in hostile_files(tmp_path, mark):
        with pytest.raises(
            WeightsError, match=rf"{path.name} is refused, it holds (posix|nt|os|builtins)\.|is damaged"
        ):
            read_torch_file(path)
        with pytest.raises(WeightsError):
            convert(path, tmp_path / "out")
        assert not mark.exists()
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "code",
    [
        b"ctorch._utils\n_rebuild_tensor_v2\n}U\x0c__defaults__K\x01sb.",  # a state for one of our functions
        b"ctorch\nFloatStorage\n}U\x05dtypeK\x01sb.",
        b"cbuiltins\nset\n)\x81}U\x01xK\x01sb.",
        b"\x82\x01.",  # copyreg's extensions
        b"ctorch\nload\n.",
        b"ctorch.serialization\nload\n.",
        b"ctraining.x\ny.__class__\n.",
        b"cnumpy.core.multiarray\nscalar\n.",
    ],
)
def test_an_opcode_finds_no_way_round(code: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.pkl").write_bytes(b"\x80\x02" + code)
    try:
        content = read_torch_file(tmp_path / "x.pkl")
    except WeightsError:
        return
    assert not callable(content)


LAUGHS = b")" + b"2\x86" * 60  # a tuple of itself twice, sixty deep: 2^60 to hash, compare or print


TENSOR = b"ctorch._utils\n_rebuild_tensor\n"


@pytest.mark.parametrize(
    "code",
    [
        b"})" + b"\x85" * 900_000 + b"Ns.",  # its hash would take the whole process
        b"}" + LAUGHS + b"Ns.",
        b"ccollections\nOrderedDict\n](](" + LAUGHS + b"Neea\x85R.",
        b"ctorch\ndevice\n" + LAUGHS + b"\x85R.",
        LAUGHS + b"Nb.",
        b"ctorch_utils.persistence\n_reconstruct_persistent_obj\n}(U\x05state}U\x0aclass_name" + LAUGHS + b"u\x85R.",
        b"c_codecs\nencode\nU\x01x" + LAUGHS + b"\x86R.",
        b"cbuiltins\nset\n](" + LAUGHS + b"e\x85R.",
        b"\x96" + (1 << 31).to_bytes(8, "little") + b".",  # a bytearray of 2 GB
        b"ctorch\n_dynamo\n.",  # torch would import it to answer
        b"\x8f(" + TENSOR + b"\x90.",  # a function of ours in a set
        b"cbuiltins\nslice\n(cbuiltins\nslice\nNN\x86RNtR.",
        TENSOR + b"(NK\x00)" + LAUGHS + b"tR.",
        b"ctorch\nquint8\n.",
        b"cbuiltins\nset\n)Rq\x00(" + TENSOR + b"e.",
    ],
)
@pytest.mark.parametrize("read", [read_torch_file, load_arrays])
def test_a_file_takes_no_time_and_changes_nothing(code: bytes, read: Any, tmp_path: Path) -> None:
    (tmp_path / "x.pkl").write_bytes(b"\x80\x05" + code)
    before = set(sys.modules)
    with pytest.raises(WeightsError) as caught:
        read(tmp_path / "x.pkl")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600
    assert set(sys.modules) <= before


def test_a_name_in_a_file_obeys_no_terminal(tmp_path: Path) -> None:
    module, name = b"a\x1b[31mx\nerror:", b"b\nc" * 1000
    code = b"\x8c" + bytes([len(module)]) + module + b"X" + struct.pack("<I", len(name)) + name + b"\x93."
    (tmp_path / "x.pkl").write_bytes(b"\x80\x04" + code)
    with pytest.raises(WeightsError) as caught:
        read_torch_file(tmp_path / "x.pkl")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


def test_the_same_part_over_and_over_takes_no_memory(tmp_path: Path) -> None:
    blob = io.BytesIO()
    torch.save(torch.zeros(50_000).untyped_storage(), blob, _use_new_zipfile_serialization=False)
    load = b"ctorch.storage\n_load_from_bytes\nq\x00" + _short_bytes(blob.getvalue()) + b"q\x01"
    (tmp_path / "x.pkl").write_bytes(b"\x80\x02" + load + b"](" + b"h\x00h\x01\x85R" * 3000 + b"e.")
    with pytest.raises(WeightsError, match="more than a file of its size can hold"):
        read_torch_file(tmp_path / "x.pkl")


def test_memory_that_a_file_does_not_fill_is_not_given_out(tmp_path: Path) -> None:
    torch.save(torch.arange(9.0), tmp_path / "a.pt", _use_new_zipfile_serialization=False)
    data = (tmp_path / "a.pt").read_bytes()
    keys = data.rindex(b"\x80\x02]")
    (tmp_path / "b.pt").write_bytes(data[:keys] + b"\x80\x02].")
    with pytest.raises(WeightsError, match="a storage without content"):
        read_torch_file(tmp_path / "b.pt")


def test_entries_that_lie_over_each_other_are_refused(tmp_path: Path) -> None:
    torch.save({str(i): torch.zeros(10_000) for i in range(3)}, tmp_path / "a.pt")
    data = bytearray((tmp_path / "a.pt").read_bytes())
    with zipfile.ZipFile(tmp_path / "a.pt") as file:
        first, *others = [entry for entry in file.infolist() if "/data/" in entry.filename]
    for entry in others:
        header = data.rindex(entry.filename.encode()) - 46
        data[header + 42 : header + 46] = struct.pack("<I", first.header_offset)
        struct.pack_into("<II", data, header + 20, 2 * len(data), 2 * len(data))
    (tmp_path / "b.pt").write_bytes(data)
    with pytest.raises(WeightsError, match="entries that lie over each other"):
        read_torch_file(tmp_path / "b.pt")


@pytest.mark.parametrize("size", [[10**12], [10**6, 10**6]])
@pytest.mark.parametrize("stride", [0, 1])
def test_a_tensor_larger_than_its_storage_takes_no_memory(size: list[int], stride: int, tmp_path: Path) -> None:
    torch.save({"g_ema": torch.zeros(4)}, tmp_path / "a.pt")
    with zipfile.ZipFile(tmp_path / "a.pt") as old, zipfile.ZipFile(tmp_path / "b.pt", "w") as new:
        for entry in old.namelist():
            data = old.read(entry)
            if entry.endswith("data.pkl"):
                numbers = b"".join(b"\x8a\x06" + n.to_bytes(6, "little") for n in size)
                strides = b"".join(bytes([0x4B, stride]) for _ in size)
                before = b"K\x04\x85q\x08K\x01\x85q\t"
                assert before in data
                data = data.replace(before, b"(" + numbers + b"tq\x08(" + strides + b"tq\t")
            new.writestr(entry, data)
    with pytest.raises(WeightsError, match=r"b\.pt is damaged.*in a storage of 4 elements"):
        read_torch_file(tmp_path / "b.pt")


def test_a_storage_larger_than_its_file_takes_no_memory(tmp_path: Path) -> None:
    torch.save(torch.zeros(4), tmp_path / "a.pt", _use_new_zipfile_serialization=False)
    data = (tmp_path / "a.pt").read_bytes()
    assert data.count(b"K\x04Ntq") == 1
    (tmp_path / "b.pt").write_bytes(data.replace(b"K\x04Ntq", b"\x8a\x06" + (10**12).to_bytes(6, "little") + b"Ntq"))
    with pytest.raises(WeightsError, match="holds more than a file of its size can hold"):
        read_torch_file(tmp_path / "b.pt")


def test_a_compressed_file_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", b"\x80\x02N." + b"\0" * 10**6)
    with pytest.raises(WeightsError, match="refused, it holds compressed entries"):
        read_torch_file(tmp_path / "bomb.pt")


def test_a_tensorflow_pickle_says_how_to_convert_it(tmp_path: Path) -> None:
    class Network:
        pass

    with importable({"dnnlib.tflib.network.Network": Network}):
        (tmp_path / "stylegan2-ffhq-config-f.pkl").write_bytes(pickle.dumps((Network(), Network(), Network())))
    with pytest.raises(
        WeightsError, match=r"TensorFlow network; .* python legacy\.py --source=IN\.pkl --dest=OUT\.pkl"
    ):
        convert(tmp_path / "stylegan2-ffhq-config-f.pkl", tmp_path / "out")


@pytest.mark.parametrize("opcode", [pickle.FRAME, pickle.BINBYTES8, pickle.BINUNICODE8])
def test_a_file_that_claims_any_size_takes_no_memory(opcode: bytes, tmp_path: Path) -> None:
    path = tmp_path / "claims.pkl"
    path.write_bytes(b"\x80\x04" + opcode + struct.pack("<Q", 1 << 50))
    with pytest.raises(WeightsError, match=r"claims\.pkl is damaged") as caught:
        read_torch_file(path)
    assert "MemoryError" not in str(caught.value)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    folder = tmp_path_factory.mktemp("samples")
    torch.save({"g_ema": {"a": torch.arange(6.0).reshape(2, 3)}}, folder / "new.pt")
    torch.save({"g_ema": {"a": torch.arange(6.0)}}, folder / "old.pt", _use_new_zipfile_serialization=False)
    write_nvidia(folder / "g.pkl", "orig")
    return [(folder / name).read_bytes() for name in ("new.pt", "old.pt", "g.pkl")]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(which=st.integers(0, 2), cut=st.floats(0, 1), where=st.floats(0, 0.999), byte=st.integers(0, 255))
def test_a_damaged_file_is_one_line(
    samples: list[bytes], tmp_path: Path, which: int, cut: float, where: float, byte: int
) -> None:
    data = bytearray(samples[which])
    data[int(where * len(data))] = byte
    data = data[: int(cut * len(data))] if cut < 0.7 else data
    path = tmp_path / "damaged.pt"
    path.write_bytes(data)
    try:
        content = read_torch_file(path)
    except WeightsError as error:
        assert "\n" not in str(error)
    else:
        assert isinstance(content, (dict, Record, list, tuple, str, bytes, int, float, Tensor, type(None)))
