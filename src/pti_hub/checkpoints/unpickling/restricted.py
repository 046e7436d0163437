"""A restricted unpickler for untrusted files.

It runs no code from the file, changes nothing in this process, and takes memory in proportion to the file's size.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, ClassVar

from pti_hub.errors import printable

SCALARS = (str, int, float, bool, bytes, type(None))


class Refused(Exception):
    """The pickle holds something that is not admitted; the message says what."""


class Budget:
    """Limits the memory that a file's content may take, in proportion to the file's size.

    Args:
        size: The file's size in bytes.
    """

    def __init__(self, size: int) -> None:
        self.left = 4 * size + (16 << 20)

    def charge(self, size: int) -> None:
        """Take a number of bytes or elements from the budget.

        Raises:
            Refused: Fewer are left.
        """
        self.left -= size
        if self.left < 0:
            raise Refused("more than a file of its size can hold")


def name_of(value: object) -> str:
    """The name of a value's type, for messages, which never print a file's values themselves."""
    return type(value).__name__.strip("_")


def named(text: str) -> str:
    """A file's text for a message: shortened, and without control characters, which a terminal would obey."""
    return printable(text[:120])


def checked_size(size: Any) -> tuple[int, ...]:
    """Check a shape or stride before anything is computed from it.

    Returns:
        The shape or stride.

    Raises:
        Refused: The value is neither.
    """
    if type(size) is not tuple or len(size) > 32 or any(type(n) is not int or not 0 <= n < 2**48 for n in size):
        raise Refused("an array or tensor whose size is no list of numbers")
    return size


# The unpickler in Python, since the one in C reserves as much memory as a damaged file asks for.
class RestrictedUnpickler(pickle._Unpickler):
    """Unpickler whose containers are lists, tuples, dicts and sets; keys of dicts and elements of sets are scalars.

    Nested tuples are never hashed or compared, which could take exponential time or crash the process.

    Args:
        file: The pickle.
        budget: Memory that the file's content may take.
    """

    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)
    stack: list[Any]
    metastack: list[list[Any]]
    stateful: ClassVar[tuple[type, ...]] = ()
    """Types whose objects may be given a state."""
    mappings: ClassVar[tuple[type, ...]] = (dict,)
    """Types whose objects may be given items."""
    admitted: ClassVar[Mapping[tuple[str, str], Any]] = {}
    """Stand-ins for the classes and functions that a file may name, by module and name."""

    def __init__(self, file: BinaryIO, budget: Budget) -> None:
        super().__init__(file, encoding="latin1")
        self.budget = budget

    def find_class(self, module: str, name: str) -> Any:
        """Look up the stand-in for a name in the file; nothing is imported.

        Raises:
            Refused: The name is not admitted.
        """
        try:
            return self.admitted[module, name]
        except KeyError:
            raise Refused(named(f"{module}.{name}")) from None

    def load_reduce(self) -> None:
        for argument in self.stack[-1] if type(self.stack[-1]) is tuple else ():
            if isinstance(argument, (str, bytes, list, tuple, dict, set)):
                self.budget.charge(len(argument))
        super().load_reduce()  # type: ignore[misc]

    def load_build(self) -> None:
        state, owner = self.stack[-1], self.stack[-2]
        if not isinstance(owner, self.stateful):
            raise Refused(f"a state for a {name_of(owner)}")
        for part in state if type(state) is tuple else (state,):
            if isinstance(part, (str, bytes, list, tuple, dict)):
                self.budget.charge(len(part))
        super().load_build()  # type: ignore[misc]

    def load_setitem(self) -> None:
        self._check_items(self.stack[-3], self.stack[-2:])
        super().load_setitem()  # type: ignore[misc]

    def load_setitems(self) -> None:
        self._check_items(self.metastack[-1][-1], self.stack)
        super().load_setitems()  # type: ignore[misc]

    def load_dict(self) -> None:
        self._check_items({}, self.stack)
        super().load_dict()  # type: ignore[misc]

    def _check_items(self, owner: Any, items: list[Any]) -> None:
        if type(owner) not in self.mappings:
            raise Refused(f"items for a {name_of(owner)}")
        for key in items[::2]:
            if type(key) not in SCALARS:
                raise Refused(f"a dict with a key of type {name_of(key)}")

    def load_append(self) -> None:
        if type(self.stack[-2]) is not list:
            raise Refused(f"elements for a {name_of(self.stack[-2])}")
        super().load_append()  # type: ignore[misc]

    def load_appends(self) -> None:
        if type(self.metastack[-1][-1]) is not list:
            raise Refused(f"elements for a {name_of(self.metastack[-1][-1])}")
        super().load_appends()  # type: ignore[misc]

    def load_additems(self) -> None:
        if type(self.metastack[-1][-1]) is not set:
            raise Refused(f"elements for a {name_of(self.metastack[-1][-1])}")
        plain_set(self.stack)
        super().load_additems()  # type: ignore[misc]

    def refuse(self) -> None:
        """Refuse an instruction that no such file needs."""
        raise Refused("an instruction that no such file needs")

    def get_extension(self, code: int) -> None:  # copyreg's cache would bypass find_class
        self.refuse()


_LOADERS = {
    pickle.REDUCE: RestrictedUnpickler.load_reduce,
    pickle.BUILD: RestrictedUnpickler.load_build,
    pickle.SETITEM: RestrictedUnpickler.load_setitem,
    pickle.SETITEMS: RestrictedUnpickler.load_setitems,
    pickle.DICT: RestrictedUnpickler.load_dict,
    pickle.APPEND: RestrictedUnpickler.load_append,
    pickle.APPENDS: RestrictedUnpickler.load_appends,
    pickle.ADDITEMS: RestrictedUnpickler.load_additems,
}
_REFUSED_OPCODES = (
    *(pickle.EXT1, pickle.EXT2, pickle.EXT4, pickle.INST, pickle.OBJ, pickle.NEWOBJ_EX),
    *(pickle.FROZENSET, pickle.BYTEARRAY8, pickle.NEXT_BUFFER, pickle.READONLY_BUFFER),
)
for _code, _load in (*_LOADERS.items(), *((code, RestrictedUnpickler.refuse) for code in _REFUSED_OPCODES)):
    RestrictedUnpickler.dispatch[_code[0]] = _load


def plain_set(elements: Any = ()) -> set[Any]:
    """Build a set of scalars; stands in for the type `set`.

    Raises:
        Refused: The elements are not in a list, tuple or set, or one is not a scalar.
    """
    if type(elements) not in (list, tuple, set):
        raise Refused(f"a set of a {name_of(elements)}")
    if any(type(element) not in SCALARS for element in elements):
        raise Refused("a set of other things than texts and numbers")
    return set(elements)


class StandIn:
    """Stands in for an object whose class is not imported; `content` returns the data of that object."""

    def content(self) -> Any:
        """What takes the place of this object in the result.

        Raises:
            Refused: The file never filled the object in.
        """
        raise Refused(f"a bare {name_of(self)}")

    def resolve_parts(self, resolve_part: Callable[[Any], Any]) -> None:
        """Replace stand-ins inside this object's content by their own content."""


# Marks a container whose parts are being resolved.
_OPEN = object()


def resolve(value: Any, leaves: tuple[type, ...], done: dict[int, Any] | None = None) -> Any:
    """Replace stand-ins by their content, throughout lists, tuples and dicts.

    Args:
        value: The unpickled object.
        leaves: Types that are kept unchanged.
        done: Results by the `id` of their originals, so that shared parts stay shared and the work stays linear.

    Returns:
        The object without stand-ins.

    Raises:
        Refused: There is an object of another type, or a container that holds itself.
    """
    done = {} if done is None else done
    if value is None or isinstance(value, leaves):
        return value
    if id(value) in done:
        if done[id(value)] is _OPEN:
            raise Refused(f"a {name_of(value)} that holds itself")
        return done[id(value)]
    done[id(value)] = _OPEN
    if isinstance(value, StandIn):
        result = value.content()
        value.resolve_parts(lambda part: resolve(part, leaves, done))
    elif isinstance(value, dict):
        result = {key: resolve(item, leaves, done) for key, item in value.items()}
    elif type(value) in (list, tuple):
        result = type(value)(resolve(item, leaves, done) for item in value)
    else:
        raise Refused(f"a bare {name_of(value)}")
    done[id(value)] = result
    return result
