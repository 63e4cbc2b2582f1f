"""Checkpoints of the original project as numpy arrays; needs no PyTorch.

A `.pth` file is a zip of raw numbers, and of a pickle that says which tensor lies where in them. Python's own
unpickler does whatever a pickle says: it calls functions, and a few bytes make it take all memory or end the process.
The one here knows only the few operations that weights need; none runs code or takes more memory than the file holds.
The layout is that of PyTorch's `torch/serialization.py` since 1.6.
"""

from __future__ import annotations

import math
import pickle
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bgai.errors import WeightsError

MAX_BYTES = 64 * 2**20  # the authors' files have 3, and their pickles 0.3
MAX_PICKLE_BYTES = 4 * 2**20
_BEFORE_ZIP = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # the number that older files start with, as a pickle
_BYTE_ORDERS = {b"little": "<", b"big": ">"}
_FLOATS = {"torch.FloatStorage": "f4", "torch.DoubleStorage": "f8", "torch.HalfStorage": "f2"}
_BFLOAT16 = {"torch.BFloat16Storage": "u2"}  # numpy has no such numbers: their bits are read
_STORAGES = _FLOATS | _BFLOAT16
_DAMAGES = (
    *(zipfile.BadZipFile, EOFError, OSError, RuntimeError, ValueError, LookupError, TypeError, OverflowError),
    struct.error,
)


def read_pth(path: Path, key: str) -> dict[str, NDArray[np.float32]]:
    """Tensors of a `.pth` file by the names that they have there.

    Args:
        path: The file.
        key: Which of the weights in it: `params_ema` (averaged) or `params`.

    Raises:
        WeightsError: The file is damaged, in the format before PyTorch 1.6, above 64 MiB, or holds more than tensors.
    """
    try:
        with path.open("rb") as file:
            if file.read(len(_BEFORE_ZIP)) == _BEFORE_ZIP:
                raise _RefusedError(
                    "in the format of PyTorch before 1.6; write it anew with a PyTorch of today:"
                    " torch.save(torch.load(file, weights_only=True), file)"
                )
            size = file.seek(0, 2)
            if size > MAX_BYTES:
                raise _RefusedError(f"{size / 2**20:.0f} MiB; expected at most {MAX_BYTES // 2**20}")
            with zipfile.ZipFile(file) as archive:
                return _Archive(archive, size).tensors(key)
    except _RefusedError as error:
        raise WeightsError(f"{path}: {error}") from error
    except _DAMAGES as error:
        raise WeightsError(f"{path}: damaged, or not a PyTorch checkpoint") from error


class _RefusedError(Exception):
    """What is wrong with a file, without its name."""


class _Name(NamedTuple):
    """Something that a pickle names, which stays a name."""

    text: str


class _Storage(NamedTuple):
    """A member of the zip: `length` numbers of a kind."""

    kind: str
    member: str
    length: int


class _Tensor(NamedTuple):
    """A view of a storage, offset and strides in numbers; checked when it is read."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Archive:
    """The zip: its pickle, and the numbers that tensors lie in."""

    def __init__(self, archive: zipfile.ZipFile, size: int) -> None:
        self._archive = archive
        self._left = size  # members that overlap could be read over and over
        self._contents: dict[str, bytes] = {}
        names = archive.namelist()
        if len(set(names)) < len(names):
            raise _RefusedError("damaged: two members of the zip have one name")
        pickles = [name for name in names if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise _RefusedError("a zip, but not a PyTorch checkpoint: expected one data.pkl in it")
        self._folder = pickles[0].removesuffix("data.pkl")
        self._order = "<"
        if self._folder + "byteorder" in names:
            self._order = _BYTE_ORDERS[self._read("byteorder")]

    def tensors(self, key: str) -> dict[str, NDArray[np.float32]]:
        if self._archive.getinfo(self._folder + "data.pkl").file_size > MAX_PICKLE_BYTES:
            raise _RefusedError(f"its pickle has more than {MAX_PICKLE_BYTES // 2**20} MiB; weights need less")
        content = _Unpickler(self._read("data.pkl")).run()
        return {name: self._array(name, tensor) for name, tensor in _pick(content, key).items()}

    def _array(self, name: str, tensor: _Tensor) -> NDArray[np.float32]:
        storage, dtype = tensor.storage, np.dtype(self._order + _STORAGES[tensor.storage.kind])
        content = self._read(f"data/{storage.member}")
        try:
            if len(content) != storage.length * dtype.itemsize or math.prod(tensor.shape) > storage.length:
                raise ValueError
            strides = [stride * dtype.itemsize for stride in tensor.strides]
            # Refuses by itself whatever lies outside of the buffer.
            array = np.ndarray(tensor.shape, dtype, content, tensor.offset * dtype.itemsize, strides)
        except (TypeError, ValueError, OverflowError):
            raise _RefusedError(f"damaged: {name!r} lies outside of the numbers that the file holds for it") from None
        if storage.kind in _BFLOAT16:
            return (array.astype(np.uint32) << 16).view(np.float32)
        with np.errstate(over="ignore"):  # who reads weights refuses what is not finite
            return np.array(array, np.float32, order="C")  # a copy, which can be written to

    def _read(self, name: str) -> bytes:
        if name not in self._contents:
            member = self._archive.getinfo(self._folder + name)
            self._left -= member.file_size
            # Else more could be unpacked, or room be made for more, than the file has.
            if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size or self._left < 0:
                raise _RefusedError("damaged, or not written by PyTorch: a member of the zip is packed, or too large")
            self._contents[name] = self._archive.read(member)
        return self._contents[name]


def _pick(content: object, key: str) -> Mapping[str, _Tensor]:
    if not isinstance(content, dict):
        raise _RefusedError(f"holds a {type(content).__name__.strip('_').lower()}; expected a dict with {key!r}")
    if key not in content:
        found = ", ".join(str(name)[:40] for name in list(content)[:6]) or "nothing"
        raise _RefusedError(f"has no {key!r}; found {found}")
    tensors = content[key]
    if not isinstance(tensors, dict) or not all(
        isinstance(name, str) and isinstance(tensor, _Tensor) for name, tensor in tensors.items()
    ):
        raise _RefusedError(f"{key!r} is not a dict of tensors")
    return tensors


def _ordered_dict() -> dict[Any, Any]:
    return {}


def _tensor(
    storage: object, offset: object, shape: object, strides: object, requires_grad: object, hooks: object, *more: object
) -> _Tensor:
    if not isinstance(storage, _Storage) or not _is_whole(offset):
        raise _RefusedError("damaged: a tensor without numbers")
    for sides in (shape, strides):
        if not isinstance(sides, tuple) or not all(map(_is_whole, sides)):
            raise _RefusedError("damaged: a tensor whose shape or strides are not whole numbers from 0")
    return _Tensor(storage, offset, shape, strides)  # type: ignore[arg-type]  # all of them were looked at


def _parameter(tensor: object, requires_grad: object, hooks: object) -> object:
    return tensor


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and value >= 0


_FUNCTIONS: dict[str, Callable[..., object]] = {
    "collections.OrderedDict": _ordered_dict,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
}


class _Unpickler:
    """Pickle's stack machine, as far as weights need it.

    Its values are dicts with keys of text or whole numbers, lists, tuples, text, numbers, None, and the tuples above.
    """

    def __init__(self, code: bytes) -> None:
        self._code = code
        self._at = 0
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def run(self) -> Any:
        while (opcode := self._take(1)) != pickle.STOP:
            if opcode not in _OPERATIONS:
                raise _RefusedError(
                    f"not a checkpoint, or one with code in it; only plain tensors are loaded (operation {opcode!r})"
                )
            _OPERATIONS[opcode](self)
        return self._stack.pop()

    def push(self, value: object) -> None:
        self._stack.append(value)

    def protocol(self) -> None:
        if (found := self._number(1)) != 2:
            raise _RefusedError(f"a pickle of protocol {found}; expected 2, as torch.save writes it")

    def mark(self) -> None:
        self._marks.append(len(self._stack))

    def text(self) -> None:
        self.push(self._take(self._number(4)).decode())

    def whole_number(self, size: int, signed: bool = False) -> None:
        self.push(self._number(size, signed))

    def long(self) -> None:
        self.push(self._number(self._number(1), signed=True))

    def real_number(self) -> None:
        self.push(struct.unpack(">d", self._take(8))[0])

    def tuple_of_marked(self) -> None:
        self.push(tuple(self._pop_marked()))

    def tuple_of(self, length: int) -> None:
        self.push(tuple(self._stack.pop() for _ in range(length))[::-1])

    def put(self, size: int) -> None:
        self._memo[self._number(size)] = self._stack[-1]

    def get(self, size: int) -> None:
        self.push(self._memo[self._number(size)])

    def append(self) -> None:
        value = self._stack.pop()
        self._top(list).append(value)

    def extend(self) -> None:
        values = self._pop_marked()
        self._top(list).extend(values)

    def set_item(self) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._set([key, value])

    def set_items(self) -> None:
        self._set(self._pop_marked())

    def name(self) -> None:
        """Modules and names are kept as text; those that weights do not need are refused."""
        name = f"{self._line()}.{self._line()}"
        if name not in _FUNCTIONS and name not in _STORAGES:
            raise _RefusedError(
                f"names {name[:80]!r}: not a checkpoint, or one with code in it; only plain tensors are loaded"
            )
        self.push(_Name(name))

    def call(self) -> None:
        """One of the functions above."""
        arguments, name = self._stack.pop(), self._stack.pop()
        if not isinstance(name, _Name) or name.text not in _FUNCTIONS or not isinstance(arguments, tuple):
            raise _RefusedError("damaged, or with code in it; only plain tensors are loaded")
        self.push(_FUNCTIONS[name.text](*arguments))

    def state(self) -> None:
        """Ignore the versions of layers that PyTorch attaches to a dict: weights do not need them."""
        self._stack.pop()
        self._top(dict)

    def storage(self) -> None:
        match self._stack.pop():
            case ("storage", _Name(kind), str(member), str(), int(length)) if kind in _STORAGES:
                self.push(_Storage(kind, member, length))
            case _:
                raise _RefusedError("damaged: what should say where a tensor's numbers lie says something else")

    def _set(self, items: list[Any]) -> None:
        target = self._top(dict)
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, str | int):  # the hash of nested tuples has no end
                raise _RefusedError("damaged: a dict with keys that are not text")
            target[key] = value

    def _top(self, kind: type[Any]) -> Any:
        if not isinstance(self._stack[-1], kind):
            raise _RefusedError(f"damaged: something else where a {kind.__name__} should be")
        return self._stack[-1]

    def _pop_marked(self) -> list[Any]:
        start = self._marks.pop()
        values = self._stack[start:]
        del self._stack[start:]
        return values

    def _take(self, size: int) -> bytes:
        taken = self._code[self._at : self._at + size]
        if len(taken) != size:
            raise EOFError
        self._at += size
        return taken

    def _number(self, size: int, signed: bool = False) -> int:
        return int.from_bytes(self._take(size), "little", signed=signed)

    def _line(self) -> str:
        end = self._code.index(b"\n", self._at)
        line = self._code[self._at : end].decode()
        self._at = end + 1
        return line


_OPERATIONS: dict[bytes, Callable[[_Unpickler], None]] = {
    pickle.PROTO: _Unpickler.protocol,
    pickle.MARK: _Unpickler.mark,
    pickle.NONE: lambda machine: machine.push(None),
    pickle.NEWTRUE: lambda machine: machine.push(True),
    pickle.NEWFALSE: lambda machine: machine.push(False),
    pickle.BININT: lambda machine: machine.whole_number(4, signed=True),
    pickle.BININT1: lambda machine: machine.whole_number(1),
    pickle.BININT2: lambda machine: machine.whole_number(2),
    pickle.LONG1: _Unpickler.long,
    pickle.BINFLOAT: _Unpickler.real_number,
    pickle.BINUNICODE: _Unpickler.text,
    pickle.EMPTY_TUPLE: lambda machine: machine.push(()),
    pickle.TUPLE: _Unpickler.tuple_of_marked,
    pickle.TUPLE1: lambda machine: machine.tuple_of(1),
    pickle.TUPLE2: lambda machine: machine.tuple_of(2),
    pickle.TUPLE3: lambda machine: machine.tuple_of(3),
    pickle.EMPTY_LIST: lambda machine: machine.push([]),
    pickle.APPEND: _Unpickler.append,
    pickle.APPENDS: _Unpickler.extend,
    pickle.EMPTY_DICT: lambda machine: machine.push({}),
    pickle.SETITEM: _Unpickler.set_item,
    pickle.SETITEMS: _Unpickler.set_items,
    pickle.BINPUT: lambda machine: machine.put(1),
    pickle.LONG_BINPUT: lambda machine: machine.put(4),
    pickle.BINGET: lambda machine: machine.get(1),
    pickle.LONG_BINGET: lambda machine: machine.get(4),
    pickle.GLOBAL: _Unpickler.name,
    pickle.REDUCE: _Unpickler.call,
    pickle.BUILD: _Unpickler.state,
    pickle.BINPERSID: _Unpickler.storage,
}
