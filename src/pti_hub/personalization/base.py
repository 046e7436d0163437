"""Which generator was tuned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Base:
    """The base of a personalisation: the pipeline whose generator was tuned.

    Attributes:
        name: The pipeline's name.
        fingerprint: `pti_hub.storage.fingerprint` of its generator.
        repo: Repository on the Hub that it came from, if it did.
        revision: Commit of that repository.
    """

    name: str
    fingerprint: str
    repo: str | None = None
    revision: str | None = None

    @property
    def address(self) -> str:
        """Where the base is found: its repository, or else its name."""
        return self.repo or self.name

    def to_json(self) -> dict[str, str]:
        """The base as a JSON object, without what is not known."""
        fields = {"name": self.name, "fingerprint": self.fingerprint, "repo": self.repo, "revision": self.revision}
        return {key: value for key, value in fields.items() if value is not None}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Base:
        """The inverse of `to_json`.

        Args:
            content: What `to_json` gave.

        Raises:
            KeyError: There is no name or no fingerprint.
        """
        optional = {key: str(content[key]) for key in ("repo", "revision") if key in content}
        return cls(str(content["name"]), str(content["fingerprint"]), **optional)
