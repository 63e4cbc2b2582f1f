"""Checkpoints of the original project, read without PyTorch: equal to what PyTorch reads, and nothing that runs."""

from __future__ import annotations

import builtins
import copyreg
import io
import os
import pickle
import struct
import subprocess
import sys
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import bgai.weights.pth_file
from bgai.errors import WeightsError
from bgai.weights.pth_file import read_pth

KEY = "params_ema"


def tensors() -> OrderedDict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    whole = torch.randn(6, 5, generator=random)
    return OrderedDict(
        whole=whole,
        turned=whole.t(),
        part=whole[2:4, 1:],
        every_other=whole.flatten()[::2],
        scalar=torch.tensor(2.5),
        empty=torch.zeros(0, 3),
        channels_last=torch.randn(2, 3, 4, 5, generator=random).to(memory_format=torch.channels_last),
        parameter=torch.nn.Parameter(torch.ones(3)),
        odd=torch.tensor([0.0, -0.0, torch.inf, torch.nan, 1e-45]),
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16], ids=str)
def test_what_pytorch_writes_comes_back(dtype: torch.dtype, tmp_path: Path) -> None:
    written = tensors()  # views of one storage, a parameter
    if dtype != torch.float32:
        written = OrderedDict((name, tensor.nan_to_num().to(dtype)) for name, tensor in written.items())
    torch.save(
        {"params": {}, KEY: written, "iter": -(2**40), "lr": 2e-4, "more": [1, None, (True, "text")]}, tmp_path / "a"
    )
    check_as_pytorch_reads(tmp_path / "a", KEY)


def check_as_pytorch_reads(path: Path, key: str) -> None:
    expected = torch.load(path, map_location="cpu", weights_only=True)[key]
    found = read_pth(path, key)
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        assert found[name].dtype == np.float32
        assert found[name].shape == tuple(tensor.shape)
        assert found[name].tobytes() == tensor.detach().float().numpy().tobytes()


@pytest.mark.parametrize("key", ["params", KEY])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_released_files_are_read_as_pytorch_reads_them(scale: int, key: str, shared: Path) -> None:
    check_as_pytorch_reads(shared / f"weights/official/BGAI_x{scale}.pth", key)


def test_a_state_with_versions_of_layers(tmp_path: Path) -> None:
    torch.save({KEY: torch.nn.Conv2d(2, 3, 1).state_dict()}, tmp_path / "a.pth")
    check_as_pytorch_reads(tmp_path / "a.pth", KEY)


def test_numbers_of_the_other_byte_order(tmp_path: Path) -> None:
    path = archive(tmp_path, checkpoint(), numbers=np.arange(6, dtype=">f4").tobytes(), byteorder=b"big")
    np.testing.assert_array_equal(read_pth(path, KEY)["a"], np.arange(6).reshape(2, 3))
    archive(tmp_path, checkpoint(), byteorder=b"middle")
    refused(path, "damaged")


# What follows is written by hand: PyTorch writes no such files.


class Written:
    """A pickle of protocol 2, one operation after the other."""

    def __init__(self, *parts: bytes) -> None:
        self.code = b"".join((b"\x80\x02", *parts, b"."))


def name(text: str) -> bytes:
    module, _, last = text.rpartition(".")
    return f"c{module}\n{last}\n".encode()


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def number(value: int) -> bytes:
    content = value.to_bytes(8, "little", signed=True)
    return b"\x8a\x08" + content


def numbers(*values: int) -> bytes:
    return b"(" + b"".join(map(number, values)) + b"t"


def storage(
    kind: str = "torch.FloatStorage", member: bytes = text("0"), count: int = 6, word: str = "storage"
) -> bytes:
    return b"(" + text(word) + name(kind) + member + text("cpu") + number(count) + b"tQ"


def tensor(
    where: bytes = storage(), offset: bytes = number(0), shape: bytes = numbers(2, 3), strides: bytes = numbers(3, 1)
) -> bytes:
    hooks = name("collections.OrderedDict") + b")R"
    return name("torch._utils._rebuild_tensor_v2") + b"(" + where + offset + shape + strides + b"\x89" + hooks + b"tR"


def checkpoint(value: bytes = tensor(), key: bytes = text("a")) -> bytes:
    return Written(b"}", text(KEY), b"}", key, value, b"ss").code


def archive(
    folder: Path,
    code: bytes,
    numbers: bytes = np.arange(6, dtype="<f4").tobytes(),
    compression: int = zipfile.ZIP_STORED,
    **more: bytes,
) -> Path:
    path = folder / "a.pth"
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("net/data.pkl", code)
        file.writestr("net/data/0", numbers)
        file.writestr("net/version", b"3\n")
        for member, content in more.items():
            file.writestr(f"net/{member}", content)
    return path


def refused(path: Path, message: str) -> None:
    with pytest.raises(WeightsError, match=message) as error:
        read_pth(path, KEY)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < len(str(path)) + 250


def test_a_file_written_by_hand_is_read(tmp_path: Path) -> None:
    """So that what is refused below is refused for what is wrong with it."""
    path = archive(tmp_path, checkpoint())
    np.testing.assert_array_equal(read_pth(path, KEY)["a"], np.arange(6).reshape(2, 3))
    np.testing.assert_array_equal(torch.load(path, weights_only=True)[KEY]["a"], np.arange(6).reshape(2, 3))


ORDERED, REBUILD = name("collections.OrderedDict"), name("torch._utils._rebuild_tensor_v2")
ONE = b"(" + text("true") + b"t"
RUNS = {
    "system": name("os.system") + ONE + b"R",
    "posix": name("posix.system") + ONE + b"R",
    "eval": name("builtins.eval") + ONE + b"R",
    "eval-of-2": name("__builtin__.eval") + ONE + b"R",
    "getattr": name("builtins.getattr") + ONE + b"R",
    "load": name("torch.load") + ONE + b"R",
    "attribute": name("torch._utils._rebuild_tensor_v2.__globals__") + ONE + b"R",
    "stack-global": text("os") + text("system") + b"\x93" + ONE + b"R",
    "instance": b"(" + text("true") + b"ios\nsystem\n",
    "object": b"(" + name("os.system") + text("true") + b"o",
    "new": ORDERED + b")\x81",
    "new-with-keywords": ORDERED + b")}\x92",
    "extension": b"\x82\x01",
    "extension-2": b"\x83\x01\x00",
    "extension-4": b"\x84\x01\x00\x00\x00",
    "text-as-id": b"Pos.system\n",
}
ODD = {
    "dict-of-items": ORDERED + b"(](" + text("a") + number(1) + b"tat" + b"R",
    "few-arguments": REBUILD + b")R",
    "storage-called": name("torch.FloatStorage") + b")R",
    "text-called": text("collections.OrderedDict") + b")R",
    "arguments-in-a-list": ORDERED + b"]R",
    "no-arguments": ORDERED + b"R",
    "tensor-of-text": tensor(where=text("0")),
    "offset-of-text": tensor(offset=text("0")),
    "shape-in-a-list": tensor(shape=b"]"),
    "shape-of-text": tensor(shape=b"(" + text("2") + b"t"),
    "more-strides": tensor(strides=numbers(3, 1, 1)),
    "negative-shape": tensor(shape=numbers(-2, -3)),
    "negative-stride": tensor(strides=numbers(-3, 1)),
    "negative-offset": tensor(offset=number(-1)),
    "state-of-a-tensor": tensor() + b"}b",
    "state-of-a-name": REBUILD + b"}b",
    "state-of-a-function": REBUILD + b"(N}" + text("__code__") + text("x") + b"stb",
    "state-of-a-tuple": b")}b",
    "item-of-a-tuple": b")" + text("a") + text("b") + b"s",
    "append-to-a-dict": b"}" + text("a") + b"a",
    "id-word": tensor(where=storage(word="module")),
    "id-kind": tensor(where=storage("torch.LongStorage")),
    "id-function": tensor(where=storage("torch._utils._rebuild_tensor_v2")),
    "id-member": tensor(where=storage(member=number(0))),
    "id-place": tensor(where=storage(member=text("1"))),
    "id-elsewhere": tensor(where=storage(member=text("../data.pkl"))),
    "id-text": tensor(where=text("0") + b"Q"),
    "id-short": tensor(where=b"(" + text("storage") + b"tQ"),
    "id-list": tensor(where=b"]Q"),
    "id-negative": tensor(where=storage(count=-6)),
    "outside": tensor(offset=number(1)),
    "far-outside": tensor(offset=number(2**61)),
    "wide-strides": tensor(strides=numbers(4, 1)),
    "huge-strides": tensor(strides=numbers(2**61, 1)),
    "huge-shape": tensor(shape=numbers(2**62, 2**62)),
    "huge-shape-of-one-number": tensor(shape=numbers(10**6, 10**6), strides=numbers(0, 0)),
    "huge-empty-shape": tensor(shape=numbers(0, 2**62), strides=numbers(2**62, 1)),
    "many-dimensions": tensor(shape=numbers(*[1] * 100), strides=numbers(*[1] * 100)),
    "claims-more": tensor(where=storage(count=7)),
    "claims-less": tensor(where=storage(count=5)),
    "claims-much": tensor(where=storage(count=2**62)),
    "other-numbers": tensor(where=storage("torch.DoubleStorage")),
    "long-number": b"\x8a\xff" + bytes(255),
    "longer-number": b"\x8b\xff\xff\xff\x7f",
    "nothing-there": b"h\x07",
    "far-memo": b"r\xff\xff\xff\x7fj\xfe\xff\xff\x7f",
    "text-without-end": b"X\xff\xff\xff\xff",
    "bytes-without-end": b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f",
    "not-text": b"X\x01\x00\x00\x00\xff",
    "empty-stack": b"0000",
    "unmarked": b"tttt",
    "frame": b"\x95\xff\xff\xff\xff\xff\xff\xff\x7f",
}


@pytest.mark.parametrize("what", RUNS)
def test_code_is_not_run(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: object) -> None:
        raise AssertionError("code was run")

    for module, function in ((os, "system"), (builtins, "eval"), (torch, "load")):
        monkeypatch.setattr(module, function, run)
    monkeypatch.setattr(sys.modules["posix" if os.name == "posix" else "nt"], "system", run)
    monkeypatch.setitem(copyreg._inverted_registry, 1, ("os", "system"))  # type: ignore[attr-defined]
    monkeypatch.setitem(copyreg._extension_cache, 1, run)  # type: ignore[attr-defined]
    refused(archive(tmp_path, checkpoint(RUNS[what])), "only plain tensors are loaded")


@pytest.mark.parametrize("what", ODD)
def test_odd_pickles_are_refused(what: str, tmp_path: Path) -> None:
    path = archive(tmp_path, checkpoint(ODD[what]))
    refused(path, "damaged|only plain tensors|is not a dict of tensors")


def test_objects_of_pickles_are_values_alone() -> None:
    """Names stay names: a file cannot change what a name stands for, nor call what it does not stand for."""
    code = Written(REBUILD).code
    assert bgai.weights.pth_file._Unpickler(code).run() == ("torch._utils._rebuild_tensor_v2",)


@pytest.mark.parametrize("opening", [b"\x85", b"](", b"}("], ids=["tuple", "list", "dict"])
def test_deep_nesting_is_no_crash(opening: bytes, tmp_path: Path) -> None:
    """Python's own unpickler dies of the first: the hash of a tuple asks for those within."""
    depth = 250_000
    nested = {b"\x85": b")" + b"\x85" * depth, b"](": b"]" * depth + b"a" * (depth - 1)}.get(
        opening, (b"}" + text("a")) * depth + b"N" + b"s" * depth
    )
    archive(tmp_path, checkpoint(b"N", key=nested))
    in_a_process(tmp_path / "a.pth", "damaged")
    archive(tmp_path, checkpoint(nested))
    in_a_process(tmp_path / "a.pth", "is not a dict of tensors")


def test_a_dict_that_holds_itself(tmp_path: Path) -> None:
    path = archive(tmp_path, Written(b"}q\x00", text(KEY), b"h\x00s").code)
    refused(path, "is not a dict of tensors")


def in_a_process(path: Path, message: str) -> None:
    code = f"""
import sys
from contextlib import suppress
from pathlib import Path
from bgai.errors import WeightsError
from bgai.weights.pth_file import read_pth
try:
    read_pth(Path(sys.argv[1]), {KEY!r})
except WeightsError as error:
    print(error)
"""
    result = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert message in result.stdout


@pytest.mark.parametrize("protocol", [0, 3, 4, 5])
def test_other_protocols_are_refused(protocol: int, tmp_path: Path) -> None:
    refused(archive(tmp_path, pickle.dumps({KEY: {}}, protocol)), "protocol|only plain tensors")


def test_every_cut_of_a_pickle_is_refused(tmp_path: Path) -> None:
    code = checkpoint()
    for length in range(len(code)):
        with pytest.raises(WeightsError):
            read_pth(archive(tmp_path, code[:length]), KEY)


def test_changed_bytes_raise_nothing_else(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    whole = archive(tmp_path, checkpoint()).read_bytes()
    for _ in range(300):
        changed = bytearray(whole)
        for place in random.integers(0, len(whole), random.integers(1, 4)):
            changed[place] = random.integers(0, 256)
        (tmp_path / "a.pth").write_bytes(changed)
        with suppress(WeightsError):
            read_pth(tmp_path / "a.pth", KEY)


def test_every_cut_of_a_file_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path, checkpoint())
    whole = path.read_bytes()
    for length in range(1, len(whole), 7):
        path.write_bytes(whole[:length])
        refused(path, "not a PyTorch checkpoint")


def replace_in_zip(path: Path, old: bytes, new: bytes) -> None:
    assert old in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(old, new))


def packed(folder: Path) -> Path:
    return archive(folder, checkpoint(), np.zeros(10_000_000, np.float32).tobytes(), zipfile.ZIP_DEFLATED)


def packed_unsaid(folder: Path) -> Path:
    """Members of 40 MB that say they unpack to what they take."""
    path = packed(folder)
    with zipfile.ZipFile(path) as file:
        sizes = [(member.compress_size, member.file_size) for member in file.infolist()]
    for taken, unpacked in sizes:
        replace_in_zip(path, struct.pack("<II", taken, unpacked), struct.pack("<II", taken, taken))
    return path


def claiming(folder: Path) -> Path:
    """Members that say they have 4 GB."""
    path = archive(folder, checkpoint())
    replace_in_zip(path, struct.pack("<II", 24, 24), struct.pack("<II", 2**32 - 2, 2**32 - 2))
    return path


def encrypted(folder: Path) -> Path:
    path = archive(folder, checkpoint())
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    return path


def changed_number(folder: Path) -> Path:
    path = archive(folder, checkpoint())
    replace_in_zip(path, np.float32(3).tobytes(), np.float32(4).tobytes())
    return path


def twice(folder: Path) -> Path:
    path = archive(folder, checkpoint())
    with zipfile.ZipFile(path, "a") as file, pytest.warns(UserWarning, match="Duplicate"):
        file.writestr("net/data/0", bytes(24))
    return path


def overlapping(folder: Path) -> Path:
    """A thousand members that are all the same megabyte."""
    keys = [f"{index:03}" for index in range(1000)]
    items = b"".join(
        text(key) + tensor(storage(member=text(key), count=2**18), shape=numbers(2**18), strides=numbers(1))
        for key in keys
    )
    path = folder / "a.pth"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("net/data.pkl", Written(b"}", text(KEY), b"}(", items, b"us").code)
        file.writestr("net/data/000", bytes(2**20))
        first = file.getinfo("net/data/000")
        for key in keys[1:]:
            info = zipfile.ZipInfo(f"net/data/{key}")
            for field in ("CRC", "compress_size", "file_size", "header_offset", "compress_type"):
                setattr(info, field, getattr(first, field))
            file.filelist.append(info)
    return path


def large_pickle(folder: Path) -> Path:
    return archive(folder, checkpoint(b"N" * (4 * 2**20)))


def large_file(folder: Path) -> Path:
    path = archive(folder, checkpoint())
    with path.open("r+b") as file:
        file.truncate(65 * 2**20)
    return path


def older(folder: Path) -> Path:
    torch.save({KEY: tensors()}, folder / "a.pth", _use_new_zipfile_serialization=False)
    return folder / "a.pth"


def plain_pickle(folder: Path) -> Path:
    (folder / "a.pth").write_bytes(pickle.dumps({KEY: {}}, 2))
    return folder / "a.pth"


def other_zip(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "a.pth", "w") as file:
        file.writestr("readme.txt", "text")
    return folder / "a.pth"


def two_pickles(folder: Path) -> Path:
    path = archive(folder, checkpoint())
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("other/data.pkl", checkpoint())
    return path


FILES: dict[Callable[[Path], Path], str] = {
    packed: "is packed, or too large",
    packed_unsaid: "is packed, or too large",
    claiming: "is packed, or too large",
    encrypted: "damaged",
    changed_number: "damaged",
    twice: "two members of the zip have one name",
    overlapping: "damaged",
    large_pickle: "its pickle has more than 4 MiB",
    large_file: "65 MiB; expected at most 64",
    older: r"before 1\.6; write it anew .* torch\.save\(torch\.load\(",
    plain_pickle: "not a PyTorch checkpoint",
    other_zip: r"expected one data\.pkl",
    two_pickles: r"expected one data\.pkl",
}


@pytest.mark.parametrize("make", FILES, ids=lambda make: make.__name__)
def test_odd_files_are_refused(make: Callable[[Path], Path], tmp_path: Path) -> None:
    refused(make(tmp_path), FILES[make])


def test_members_that_overlap_are_not_read_over_and_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some versions of Python refuse them themselves."""
    read: list[int] = []

    def count(self: zipfile.ZipFile, member: zipfile.ZipInfo, *_: Any) -> bytes:
        read.append(member.file_size)
        return whole(self, member) if member.filename.endswith("data.pkl") else bytes(member.file_size)

    whole = zipfile.ZipFile.read
    path = overlapping(tmp_path)
    monkeypatch.setattr(zipfile.ZipFile, "read", count)
    refused(path, "is packed, or too large")
    assert sum(read) <= path.stat().st_size


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "holds a list; expected a dict with 'params_ema'"),
        (torch.zeros(1), "holds a tensor; expected a dict"),
        ({"model": 1, "x" * 1000: 2}, r"has no 'params_ema'; found model, x{40}$"),
        ({}, "found nothing"),
        ({KEY: {"a": 1}}, "is not a dict of tensors"),
        ({KEY: {1: torch.zeros(1)}}, "is not a dict of tensors"),
        ({KEY: {"a": torch.zeros(1, dtype=torch.int64)}}, "only plain tensors"),
    ],
)
def test_what_a_file_holds_instead_is_said(content: object, message: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "a.pth")
    refused(tmp_path / "a.pth", message)


@pytest.mark.filterwarnings("ignore")  # of PyTorch, on what it is asked to make here
@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.eye(3).to_sparse(),
        lambda: torch.eye(3).to_sparse_csr(),
        lambda: torch.quantize_per_tensor(torch.eye(3), 0.1, 0, torch.qint8),
        lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
        lambda: torch.ones(3, device="meta"),
        lambda: torch.ones(3).to(torch.float8_e4m3fn),
        lambda: torch.ones(3, dtype=torch.complex64).conj(),
        lambda: torch.ones(1).expand(10**9),
    ],
    ids=["sparse", "sparse rows", "quantised", "nested", "meta", "float8", "conjugate", "expanded"],
)
def test_tensors_that_are_not_plain_are_refused(make: Callable[[], torch.Tensor], tmp_path: Path) -> None:
    torch.save({KEY: {"a": make()}}, tmp_path / "a.pth")
    refused(tmp_path / "a.pth", "only plain tensors|lies outside of the numbers")


def test_an_archive_of_torchscript_is_refused(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scripting is deprecated
        torch.jit.save(torch.jit.script(torch.nn.Conv2d(1, 1, 1)), tmp_path / "a.pth")
    refused(tmp_path / "a.pth", "not a checkpoint|only plain tensors")


def test_a_pickle_is_read_without_python_s_unpickler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = io.BytesIO()
    torch.save({KEY: {"a": torch.ones(2)}}, buffer)
    (tmp_path / "a.pth").write_bytes(buffer.getvalue())
    for reader in ("Unpickler", "load", "loads"):
        monkeypatch.delattr(pickle, reader)
    assert read_pth(tmp_path / "a.pth", KEY)["a"].tolist() == [1, 1]
