"""Exception types. Every message is one line: what was given, what was expected, what to do."""

from __future__ import annotations

# Characters of a message, and how many of them are its end.
_LONGEST, _END = 500, 150


class PTIError(Exception):
    """Base of every error this package raises on purpose.

    A message may quote any file: it is kept on one line of printable characters, and long ones lose their middle.
    """

    def __str__(self) -> str:
        text = printable(" ".join(super().__str__().splitlines()))
        # The end says what to do.
        return text if len(text) <= _LONGEST else f"{text[: _LONGEST - _END]} … {text[-_END:]}"


class InputError(PTIError, ValueError):
    """An argument is unusable: it has a wrong type, shape or range, or is an unknown name."""


class ImageError(InputError):
    """A photograph can't be read: not an image, truncated, too large."""


class FaceError(InputError):
    """A photograph holds no face, or more than one and none was chosen."""


class WeightsError(PTIError, OSError):
    """A weight file is missing, damaged or not what its name says."""


class MissingDependencyError(PTIError, ImportError):
    """An optional package is not installed; the message gives the command that installs it."""


class SaveError(PTIError, OSError):
    """A file or folder can't be written; the previous content is intact."""


def one_line(error: Exception) -> str:
    """An error's message on one line of printable characters, at most 200 of them."""
    return printable(" ".join(str(error).split()))[:200] or type(error).__name__


def printable(text: str) -> str:
    """Make untrusted text safe to print: control characters, which a terminal would obey, become question marks."""
    return "".join(c if c.isprintable() else "?" for c in text)
