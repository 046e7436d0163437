"""Exception types. Every message is one line: what was given, what was expected, what to do."""

from __future__ import annotations


class PTIError(Exception):
    """Base of every error this package raises on purpose."""


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
    """An error's message on one line, at most 200 characters long."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def printable(text: str) -> str:
    """Make untrusted text safe to print: control characters, which a terminal would obey, become question marks."""
    return "".join(c if c.isprintable() else "?" for c in text)
