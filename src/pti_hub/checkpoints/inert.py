"""An unpickler for files from unknown hands: it runs nothing, changes nothing, takes no more memory than the file."""

from __future__ import annotations

import pickle
from typing import Any, BinaryIO, ClassVar

_SCALARS = (str, int, float, bool, bytes, type(None))


class Refused(Exception):
    """The pickle holds something that is not admitted; the text says what."""


class Budget:
    """How much a file may take: what it unfolds to is bounded by its own size.

    Args:
        size: Of the file, in bytes.
    """

    def __init__(self, size: int) -> None:
        self.left = 4 * size + (16 << 20)

    def charge(self, size: int) -> None:
        """Take as many bytes or elements of it.

        Raises:
            Refused: There are not as many left.
        """
        self.left -= size
        if self.left < 0:
            raise Refused("more than a file of its size can hold")


def name_of(value: object) -> str:
    """A value's type for a message; what a file holds is never printed as it is."""
    return type(value).__name__.strip("_")


def printable(text: str) -> str:
    """A text of a file for a message: one line, not too long, nothing that a terminal obeys."""
    return "".join(c if c.isprintable() else "?" for c in text[:120])


def checked_size(size: Any) -> tuple[int, ...]:
    """A shape or stride, before anything is computed of it.

    Raises:
        Refused: It is something else.
    """
    if type(size) is not tuple or len(size) > 32 or any(type(n) is not int or not 0 <= n < 2**48 for n in size):
        raise Refused("an array or tensor whose size is no list of numbers")
    return size


# The Python unpickler, not the C one: that one reserves as much memory as a damaged file asks for.
class InertUnpickler(pickle._Unpickler):
    """Containers are lists, tuples, dicts and sets; keys and elements of sets are scalars.

    A hash or a comparison of nested tuples takes exponential time, or the whole process, so there is none.

    Args:
        file: The pickle.
        budget: What it may take.
    """

    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)
    stack: list[Any]
    metastack: list[list[Any]]
    stateful: ClassVar[tuple[type, ...]] = ()
    """Types whose objects may be given a state."""
    mappings: ClassVar[tuple[type, ...]] = (dict,)
    """Types whose objects may be given items."""

    def __init__(self, file: BinaryIO, budget: Budget) -> None:
        super().__init__(file, encoding="latin1")
        self.budget = budget

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
            if type(key) not in _SCALARS:
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
        """No such file needs what is refused here."""
        raise Refused("an instruction that no such file needs")

    def get_extension(self, code: int) -> None:  # would reach into copyreg's cache, past find_class
        self.refuse()


_LOADERS = {
    pickle.REDUCE: InertUnpickler.load_reduce,
    pickle.BUILD: InertUnpickler.load_build,
    pickle.SETITEM: InertUnpickler.load_setitem,
    pickle.SETITEMS: InertUnpickler.load_setitems,
    pickle.DICT: InertUnpickler.load_dict,
    pickle.APPEND: InertUnpickler.load_append,
    pickle.APPENDS: InertUnpickler.load_appends,
    pickle.ADDITEMS: InertUnpickler.load_additems,
}
_NEEDLESS = (
    *(pickle.EXT1, pickle.EXT2, pickle.EXT4, pickle.INST, pickle.OBJ, pickle.NEWOBJ_EX),
    *(pickle.FROZENSET, pickle.BYTEARRAY8, pickle.NEXT_BUFFER, pickle.READONLY_BUFFER),
)
for _code, _load in (*_LOADERS.items(), *((code, InertUnpickler.refuse) for code in _NEEDLESS)):
    InertUnpickler.dispatch[_code[0]] = _load


def plain_set(elements: Any = ()) -> set[Any]:
    """A set of scalars, in place of the type itself.

    Raises:
        Refused: An element is something else.
    """
    if type(elements) not in (list, tuple, set):
        raise Refused(f"a set of a {name_of(elements)}")
    if any(type(element) not in _SCALARS for element in elements):
        raise Refused("a set of other things than texts and numbers")
    return set(elements)
