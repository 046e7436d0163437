"""Identities that were tuned before, and the photographs they were tuned on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pti_hub.errors import InputError
from pti_hub.images import Photograph
from pti_hub.personalization import Personalization
from pti_hub.pipelines.components import Components


@dataclass(frozen=True)
class Identities:
    """Identities that were tuned before.

    Attributes:
        personalization: What was learned.
        names: Which of its pivots are asked for; at least one.
    """

    personalization: Personalization
    names: list[str]


def find_identities(components: Components, item: Any) -> Identities | None:
    """The identities that an item stands for; `None` for a photograph.

    Args:
        components: The pipeline.
        item: A personalisation, the name of a loaded identity, or a photograph.

    Raises:
        InputError: The personalisation belongs to another generator.
    """
    loaded = components.personalization
    if isinstance(item, Personalization):
        personalization, names = item, list(item.pivots)
    elif isinstance(item, str) and loaded is not None and (names := loaded.photographs(item)):
        personalization = loaded
    else:
        return None
    personalization.check(components.generator, components.base)
    return Identities(personalization, names)


def require_identities(components: Components, identity: Personalization | str) -> Identities:
    """As `find_identities`, for what can't be a photograph.

    Raises:
        InputError: No such identity is loaded, or the personalisation belongs to another generator.
    """
    if (identities := find_identities(components, identity)) is None:
        raise InputError(f"no identity {identity!r} is loaded; there are: {loaded_names(components)}")
    return identities


def in_photograph(identities: Identities, photograph: Photograph) -> Identities:
    """Those identities that were tuned on a photograph.

    Raises:
        InputError: None of them was.
    """
    size, digest = photograph.native.size, photograph.digest
    known = {name: p for name, p in identities.personalization.placements.items() if name in identities.names}
    names = [name for name, p in known.items() if (p.size, p.digest) == (size, digest)]
    if not known:
        who = ", ".join(map(repr, identities.names))
        raise InputError(f"{who} remembers no photograph; personalise it again, or leave photograph= out")
    if not names:
        expected = "; ".join(f"{name!r} was tuned on, of {p.size[0]}×{p.size[1]} px" for name, p in known.items())
        raise InputError(
            f"this picture of {size[0]}×{size[1]} px is not the one that {expected}; give that file, unchanged"
        )
    return Identities(identities.personalization, names)


def loaded_names(components: Components) -> str:
    """The identities that are loaded, for messages."""
    return ", ".join(components.identities) or "none"
