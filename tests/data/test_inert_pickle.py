import collections
import copyreg
import io
import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest

from epsball.data.inert_pickle import array_of, read_pickle
from epsball.errors import InputError

ARRAY = np.arange(12, dtype=np.uint8).reshape(3, 4)


def python2_pickle(array: np.ndarray, labels: list[int]) -> bytes:
    """Return {data: array, labels: labels} as Python 2 and its numpy wrote it, opcode by opcode."""
    rows, columns = array.shape
    raw = array.tobytes()
    return (
        b"\x80\x02}q\x01(U\x0bbatch_labelq\x02U\x06test 1q\x03U\x06labelsq\x04]q\x05("
        + b"".join(b"K" + bytes([label]) for label in labels)
        + b"eU\x04dataq\x06cnumpy.core.multiarray\n_reconstruct\nq\x07cnumpy\nndarray\nq\x08"
        + b"K\x00\x85U\x01b\x87Rq\x09(K\x01"
        + b"M" + struct.pack("<H", rows) + b"M" + struct.pack("<H", columns) + b"\x86"
        + b"cnumpy\ndtype\nq\x0aU\x02u1K\x00K\x01\x87Rq\x0b"
        + b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t"
        + b"b\x89T" + struct.pack("<I", len(raw)) + raw + b"tbu."
    )  # fmt: skip


def read(content: bytes, folder: Path) -> dict[str, object]:
    (folder / "batch").write_bytes(content)
    return read_pickle(folder / "batch")


def test_python2s_form(tmp_path: Path) -> None:
    array = np.arange(256, dtype=np.uint8).reshape(2, 128)
    content = read(python2_pickle(array, [3, 250]), tmp_path)
    assert content["labels"] == [3, 250]
    assert content["batch_label"] == "test 1"
    assert np.array_equal(array_of(content["data"], "data"), array)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "array",
    [
        ARRAY,
        np.asfortranarray(ARRAY),
        ARRAY[0],
        np.arange(300),
        np.arange(4, dtype=">i2"),
        ARRAY.astype("<i4"),
    ],
)
@pytest.mark.parametrize("key", ["data", b"data"])
def test_python3s_forms(protocol: int, array: np.ndarray, key: object, tmp_path: Path) -> None:
    found = array_of(read(pickle.dumps({key: array}, protocol), tmp_path)["data"], "data")
    assert found.dtype == array.dtype
    assert np.array_equal(found, array)


class Calls:
    """Pickles as a call of a function."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.call


def named(module: str, name: str, *arguments: str) -> bytes:
    """Return a pickle that calls module.name(*arguments) and stores the result under 'data'."""
    texts = b"".join(b"X" + struct.pack("<I", len(text)) + text.encode() for text in arguments)
    return f"\x80\x02}}X\x04\0\0\0datac{module}\n{name}\n(".encode("latin1") + texts + b"tRs."


def attacks(trap: Path) -> dict[str, bytes]:
    """Return pickles that would each create the file `trap`, by name."""
    command = f"open({str(trap)!r}, 'w').close()"
    extension = pickle.dumps({"data": 0}, 2)[:2] + b"\x82\x01(X\x01\0\0\0atR."
    stack_global = b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c" + bytes([len(f"touch {trap}")]) + b"%s\x85R."
    return {
        "os.system": pickle.dumps({"data": Calls(os.system, f"touch {trap}")}),
        "eval": pickle.dumps({"data": Calls(eval, command)}),
        "exec in a label": pickle.dumps({"data": ARRAY, "labels": [1, Calls(exec, command)]}),
        "open": pickle.dumps({"data": Calls(open, str(trap), "w")}),
        "Path.touch": pickle.dumps({"data": Calls(Path.touch, trap)}),
        "as a key": pickle.dumps({Calls(exec, command): 1}),
        "subprocess": named("subprocess", "check_output", "touch", str(trap)),
        "python 2 builtin": named("__builtin__", "eval", command),
        "getattr": named("builtins", "getattr", "os", "system"),
        "numpy's runner": named("numpy.testing._private.utils", "runstring", command, "{}"),
        "numpy.load": named("numpy", "load", str(trap)),
        "dotted name": b"\x80\x04\x8c\x05numpy\x8c\x10ndarray.__init__\x93)R.",
        "stack global": stack_global.replace(b"%s", f"touch {trap}".encode()),
        "old INST": f"(S'{command}'\nibuiltins\nexec\n.".encode(),
        "old OBJ": b"(cos\nsystem\nX" + struct.pack("<I", len(f"touch {trap}")) + f"touch {trap}".encode() + b"o.",
        "extension registry": extension,
        "state on the class": b"\x80\x02cnumpy\nndarray\n}X\x05\0\0\0stateK\x01sb.",
        "persistent id": b"Pname\n.",
    }


@pytest.mark.parametrize("name", attacks(Path("trap")))
def test_malicious_pickles_are_refused_and_not_run(name: str, tmp_path: Path) -> None:
    copyreg.add_extension("os", "system", 1)
    try:
        with pytest.raises(InputError, match=r"(?s)is not a pickle of plain arrays .*; nothing in it was run"):
            read(attacks(tmp_path / "trap")[name], tmp_path)
    finally:
        copyreg.remove_extension("os", "system", 1)
    assert not (tmp_path / "trap").exists()


@pytest.mark.parametrize("name", ["os.system", "eval", "exec in a label", "Path.touch", "as a key", "old INST"])
def test_the_traps_do_spring_under_an_ordinary_unpickler(name: str, tmp_path: Path) -> None:
    pickle.load(io.BytesIO(attacks(tmp_path / "trap")[name]))
    assert (tmp_path / "trap").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"text",
        pickle.dumps({"data": ARRAY})[:-9],
        python2_pickle(ARRAY, [1])[:60],
        pickle.dumps({"a": {1}})[:-2],
    ],
)
def test_damaged_pickles_are_refused(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a pickle of plain arrays"):
        read(content, tmp_path)


@pytest.mark.parametrize("content", [[1, 2], "text", None, 3])
def test_only_a_dictionary_is_a_batch(content: object, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"holds a {type(content).__name__}; a dictionary"):
        read(pickle.dumps(content), tmp_path)


@pytest.mark.parametrize(
    "value",
    [
        np.zeros(3),
        np.array([None, 1]),
        np.array(["text"]),
        np.zeros(2, dtype=[("a", "u1")]),
        [1, 2.0],
        [2**70],
        [True],
        "text",
        {"a": 1},
        np.dtype("u1"),
    ],
)
def test_what_is_not_an_integer_array_is_refused(value: object, tmp_path: Path) -> None:
    content = read(pickle.dumps({"data": value}, 4), tmp_path)
    with pytest.raises(InputError, match="data is not a plain array of integers"):
        array_of(content["data"], "data")


def test_an_array_that_announces_more_than_it_holds_is_refused(tmp_path: Path) -> None:
    content = python2_pickle(ARRAY, [1]).replace(b"M\x03\x00M\x04\x00", b"M\xff\xffM\xff\xff")
    with pytest.raises(InputError, match=r"its 12 bytes are not \(65535, 65535\) of uint8"):
        array_of(read(content, tmp_path)["data"], "data")
    content = python2_pickle(ARRAY, [1]).replace(b"\x89T\x0c\0\0\0" + ARRAY.tobytes(), b"\x89J\xff\xff\xff\x7f")
    with pytest.raises(InputError, match="its bytes are of type int"):
        array_of(read(content, tmp_path)["data"], "data")


def test_containers_beyond_the_plain_ones_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"asks for collections\.OrderedDict"):
        read(pickle.dumps(collections.OrderedDict(data=ARRAY)), tmp_path)
