"""Pickles that would run code, hang the reader or fill its memory: gadgets times ways to call them."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

PROTO, STOP, MARK, NONE = b"\x80\x02", b".", b"(", b"N"
DICT, LIST, TUPLE0, TUPLE1, TUPLE2 = b"}", b"]", b")", b"\x85", b"\x86"
SETITEM, REDUCE, BUILD, NEWOBJ, OBJ, INST = b"s", b"R", b"b", b"\x81", b"o", b"i"
HUGE = 2**31


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def put(place: int) -> bytes:
    return b"r" + struct.pack("<I", place)


def get(place: int) -> bytes:
    return b"j" + struct.pack("<I", place)


def number(value: int) -> bytes:
    return b"K" + bytes([value])


# Names that a pickle might ask for, with call arguments; "{canary}" is a file that must not appear.
GADGETS: dict[str, tuple[str, ...]] = {
    "os system": ("touch '{canary}'",),
    "posix system": ("touch '{canary}'",),
    "nt system": ("touch '{canary}'",),
    "os popen": ("touch '{canary}'",),
    "os execl": ("/bin/touch", "touch", "{canary}"),
    "os mkdir": ("{canary}",),
    "os rename": ("{other}", "{canary}"),
    "os symlink": ("{other}", "{canary}"),
    "os putenv": ("PATH", "{canary}"),
    "os _exit": (),
    "sys exit": (),
    "subprocess Popen": ("touch",),
    "subprocess getoutput": ("touch '{canary}'",),
    "subprocess check_output": ("touch",),
    "builtins eval": ("open('{canary}', 'w')",),
    "builtins exec": ("open('{canary}', 'w')",),
    "builtins compile": ("open('{canary}', 'w')", "x", "exec"),
    "builtins open": ("{canary}", "w"),
    "builtins __import__": ("antigravity",),
    "builtins getattr": ("x", "__class__"),
    "builtins breakpoint": (),
    "builtins input": (),
    "builtins list": (),
    "builtins type": ("x",),
    "builtins map": ("x", "y"),
    "__builtin__ eval": ("open('{canary}', 'w')",),
    "__builtin__ file": ("{canary}", "w"),
    "__main__ load_dict": ("x", "y"),
    "io open": ("{canary}", "w"),
    "_io FileIO": ("{canary}", "w"),
    "pathlib Path": ("{canary}",),
    "pathlib Path.touch": ("{canary}",),
    "shutil rmtree": ("{other}",),
    "shutil copy": ("{other}", "{canary}"),
    "runpy run_path": ("{other}",),
    "runpy _run_code": ("open('{canary}', 'w')", "x"),
    "code interact": (),
    "pty spawn": ("touch",),
    "platform popen": ("touch '{canary}'",),
    "timeit timeit": ("open('{canary}', 'w')",),
    "pdb run": ("open('{canary}', 'w')",),
    "cProfile run": ("open('{canary}', 'w')",),
    "bdb Bdb": (),
    "doctest debug_script": ("open('{canary}', 'w')",),
    "importlib import_module": ("antigravity",),
    "imp load_source": ("x", "{other}"),
    "webbrowser open": ("http://localhost",),
    "urllib.request urlopen": ("http://localhost",),
    "socket create_connection": ("localhost",),
    "ctypes CDLL": ("libc.so.6",),
    "marshal loads": ("x",),
    "pickle loads": ("x",),
    "_pickle loads": ("x",),
    "pickle Unpickler": ("x",),
    "shelve open": ("{canary}",),
    "dbm.dumb open": ("{canary}", "c"),
    "sqlite3 connect": ("{canary}",),
    "zipfile ZipFile": ("{canary}", "w"),
    "tarfile open": ("{canary}", "w"),
    "logging FileHandler": ("{canary}",),
    "tempfile NamedTemporaryFile": (),
    "types FunctionType": ("x", "y"),
    "types CodeType": (),
    "functools partial": ("x",),
    "functools reduce": ("x", "y"),
    "operator attrgetter": ("system",),
    "operator methodcaller": ("system", "touch '{canary}'"),
    "operator itemgetter": ("x",),
    "itertools repeat": ("x",),
    "copyreg _reconstructor": ("x", "y"),
    "copyreg __newobj__": ("x",),
    "copyreg add_extension": ("os", "system"),
    "collections namedtuple": ("x", "y"),
    "weakref finalize": ("x", "y"),
    "atexit register": ("x",),
    "signal alarm": (),
    "gc get_objects": (),
    "inspect getsource": ("x",),
    "uuid _popen": ("touch", "x"),
    "asyncio create_subprocess_shell": ("touch '{canary}'",),
    "multiprocessing Process": (),
    "threading Thread": (),
    "numpy load": ("{other}",),
    "numpy save": ("{canary}", "x"),
    "numpy fromfile": ("{other}",),
    "numpy memmap": ("{canary}", "uint8", "w+"),
    "numpy frombuffer": ("x",),
    "numpy zeros": ("x",),
    "numpy ndarray.tofile": ("{canary}",),
    "numpy.testing._private.utils runstring": ("open('{canary}', 'w')", "x"),
    "numpy.f2py.crackfortran myeval": ("open('{canary}', 'w')",),
    "numpy.lib._npyio_impl load": ("{other}",),
    "numpy.core.multiarray fromfile": ("{other}",),
    "numpy._core.multiarray _reconstruct.__globals__": (),
    "_codecs decode": ("x", "rot13"),
    "_codecs encode.__self__": (),
    "codecs open": ("{canary}", "w"),
    "compress.model_files.load load_model": ("{other}",),
    "compress.data.safe_pickle load_dict": ("x", "y"),
    "keras.saving load_model": ("{other}",),
    "tensorflow io.write_file": ("{canary}", "x"),
    "torch load": ("{other}",),
    "joblib load": ("{other}",),
    "pandas read_pickle": ("{other}",),
    "hostile_module evil": (),
}


def _by_name(module: str, name: str) -> bytes:
    return b"c" + module.encode() + b"\n" + name.encode() + b"\n"


def _from_stack(module: str, name: str) -> bytes:
    return text(module) + text(name) + b"\x93"


def _arguments(words: tuple[str, ...]) -> bytes:
    return MARK + b"".join(map(text, words)) + b"t"


# Ways in which a pickle calls or builds the object that it asked for by name.
WAYS: dict[str, Callable[[str, str, tuple[str, ...]], bytes]] = {
    "REDUCE": lambda m, n, words: _by_name(m, n) + _arguments(words) + REDUCE,
    "STACK_GLOBAL": lambda m, n, words: _from_stack(m, n) + _arguments(words) + REDUCE,
    "NEWOBJ": lambda m, n, words: _by_name(m, n) + _arguments(words) + NEWOBJ,
    "NEWOBJ_EX": lambda m, n, words: _by_name(m, n) + _arguments(words) + DICT + b"\x92",
    "OBJ": lambda m, n, words: MARK + _by_name(m, n) + b"".join(map(text, words)) + OBJ,
    "INST": lambda m, n, words: (
        MARK + b"".join(map(text, words)) + INST + m.encode() + b"\n" + n.encode() + b"\n"
    ),
    "BUILD": lambda m, n, words: _by_name(m, n) + DICT + text(n) + NONE + SETITEM + BUILD,
    "named alone": lambda m, n, words: _by_name(m, n),
}


def gadgets(canary: Path, other: Path) -> Iterator[tuple[str, bytes]]:
    """Every gadget called in every way, as a value of the dict of a batch."""
    for gadget, words in GADGETS.items():
        module, name = gadget.split(" ")
        given = tuple(word.format(canary=canary, other=other) for word in words)
        for way, made in WAYS.items():
            call = made(module, name, given)
            yield f"{gadget} by {way}", PROTO + DICT + text("data") + call + SETITEM + STOP


def _nested(leaf: bytes, levels: int, pair: bytes) -> bytes:
    """Nested pairs that hold the same pair twice: short to write, exponentially long to walk."""
    made = leaf + put(0)
    for level in range(levels):
        made += get(level) + pair + put(level + 1)
    return made


def _nested_lists(levels: int) -> bytes:
    made = LIST + put(0) + b"0"
    for level in range(levels):
        made += LIST + put(level + 1) + MARK + get(level) * 2 + b"e0"
    return made + get(levels)


ARRAY_TYPE = _by_name("numpy", "dtype") + text("u1") + TUPLE1 + REDUCE
RECONSTRUCT = _by_name("numpy.core.multiarray", "_reconstruct")
ENCODE = _by_name("_codecs", "encode")
EMPTY = (
    RECONSTRUCT + _by_name("numpy", "ndarray") + number(0) + TUPLE1 + text("b") + b"\x87" + REDUCE
)
TUPLES = _nested(TUPLE0, 60, TUPLE2)
LISTS = _nested_lists(60)


def in_dict(value: bytes) -> bytes:
    return PROTO + DICT + text("data") + value + SETITEM + STOP


def _collisions(count: int) -> bytes:
    """A dict whose keys are whole numbers with the same hash."""
    prime = 2**61 - 1
    items = b"".join(
        b"\x8a" + bytes([len(raw)]) + raw + NONE
        for n in range(1, count)
        if (raw := (n * prime).to_bytes(10, "little"))
    )
    return PROTO + DICT + MARK + items + b"u" + STOP


# Small pickles that take almost forever to hash, compare or print, or that unpack to very much data.
BOMBS: dict[str, Callable[[], bytes]] = {
    "nested tuples as a key": lambda: PROTO + DICT + TUPLES + NONE + SETITEM + STOP,
    "nested tuples as keys": lambda: PROTO + DICT + MARK + TUPLES + NONE + TUPLES + NONE + b"u" + STOP,
    "nested tuples as a key of DICT": lambda: PROTO + MARK + TUPLES + NONE + b"d" + STOP,
    "nested tuples in a set": lambda: in_dict(b"\x8f" + MARK + TUPLES + b"\x90"),
    "nested tuples in a frozen set": lambda: in_dict(MARK + TUPLES + b"\x91"),
    "a tall nest of tuples as a key": lambda: PROTO + DICT + TUPLE0 + TUPLE1 * 900_000 + NONE + SETITEM + STOP,
    "a tall nest of tuples": lambda: in_dict(TUPLE0 + TUPLE1 * 900_000),
    "a tall nest of lists": lambda: in_dict(LIST * 400_000 + b"a" * 399_999),
    "nested lists": lambda: in_dict(LISTS),
    "nested lists as an order": lambda: in_dict(
        ARRAY_TYPE + MARK + number(3) + LISTS + NONE * 6 + b"t" + BUILD
    ),
    "nested lists as a type": lambda: in_dict(_by_name("numpy", "dtype") + LISTS + TUPLE1 + REDUCE),
    "nested lists as a shape": lambda: in_dict(
        EMPTY + MARK + number(1) + LISTS + ARRAY_TYPE + b"\x89" + b"C\x01x" + b"t" + BUILD
    ),
    "numbers of one hash as keys": lambda: _collisions(60_000),
    "one text encoded often": lambda: in_dict(
        LIST + MARK + ENCODE + put(1) + b"0" + text("x" * 400_000) + put(2) + text("latin1") + TUPLE2 + put(3)
        + (get(1) + get(3) + REDUCE) * 30_000 + b"e"
    ),
    "a huge memo": lambda: PROTO + DICT + put(HUGE) + STOP,
    "a huge memo in text": lambda: PROTO + DICT + b"p%d\n" % HUGE + STOP,
    "a huge text": lambda: PROTO + b"\x8d" + struct.pack("<Q", 2**62) + STOP,
    "a huge array of bytes": lambda: PROTO + b"\x96" + struct.pack("<Q", 2**62) + STOP,
    "a huge number": lambda: PROTO + b"\x8b" + struct.pack("<I", HUGE - 1) + STOP,
    "a number of very many digits": lambda: in_dict(b"I" + b"9" * 900_000 + b"\n"),
    "a long number": lambda: in_dict(b"\x8b" + struct.pack("<I", 900_000) + b"\x7f" * 900_000),
    "a huge frame": lambda: b"\x80\x04\x95" + struct.pack("<Q", 2**62) + DICT + STOP,
    "a huge shape": lambda: in_dict(
        EMPTY + MARK + number(1) + MARK + (b"J" + struct.pack("<i", HUGE - 1)) * 9 + b"t" + ARRAY_TYPE
        + b"\x89" + b"C\x01x" + b"t" + BUILD
    ),
    "a long shape": lambda: in_dict(
        EMPTY + MARK + number(1) + MARK + number(2) * 400_000 + b"t" + ARRAY_TYPE + b"\x89" + b"C\x01x" + b"t" + BUILD
    ),
    "very many lists": lambda: in_dict(LIST + MARK + LIST * 900_000 + b"e"),
    "very many dicts": lambda: in_dict(LIST + MARK + DICT * 900_000 + b"e"),
    "very many sets": lambda: in_dict(LIST + MARK + b"\x8f" * 900_000 + b"e"),
    "very many marks": lambda: MARK * 900_000 + STOP,
    "a list in itself": lambda: in_dict(LIST + put(1) + get(1) + b"a"),
    "a dict in itself": lambda: PROTO + DICT + put(1) + text("data") + get(1) + SETITEM + STOP,
    "a name that draws": lambda: in_dict(_by_name("\x1b[2J\x07", "x" * 100_000)),
    "a type that draws": lambda: in_dict(
        _by_name("numpy", "dtype") + text("\x1b[2J" * 1000) + TUPLE1 + REDUCE
    ),
    "a load key that draws": lambda: b"\x1b" * 100,
    "persistent": lambda: b"Pos.system\n" + STOP,
    "persistent from the stack": lambda: in_dict(text("os.system") + b"Q"),
    "an extension": lambda: in_dict(b"\x82\x01"),
    "a buffer from elsewhere": lambda: b"\x80\x05" + in_dict(b"\x97")[2:],
    "items into a list": lambda: in_dict(LIST + number(0) + NONE + SETITEM),
    "nothing": lambda: b"",
    "a pickle of no dict": lambda: pickle.dumps([1]),
}  # fmt: skip
