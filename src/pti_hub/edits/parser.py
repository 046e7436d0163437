"""Parsing what users write as edits."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, TypeAlias

import torch
from torch import Tensor

from pti_hub.edits.direction import Direction, Edit
from pti_hub.edits.ganspace import GANSpace, ganspace
from pti_hub.edits.mapper import LatentMapper, MapperEdit
from pti_hub.edits.measured import MeasuredEdit
from pti_hub.edits.mixing import StyleMix
from pti_hub.edits.sefa import sefa
from pti_hub.edits.style_space import StyleEdit, style_edit
from pti_hub.edits.yaw import YawEdit
from pti_hub.errors import InputError
from pti_hub.generators import Generator

AppliedEdit: TypeAlias = "Edit | StyleMix | MapperEdit | StyleEdit"
"""An edit that needs no picture: what it does to the latent is known."""

AnyEdit: TypeAlias = "AppliedEdit | MeasuredEdit | YawEdit"
"""An edit, or one whose strength is still to be found by measuring pictures."""

OneEdit: TypeAlias = "str | tuple[str, float | str] | Direction | LatentMapper | AnyEdit"
EditInput: TypeAlias = "OneEdit | Sequence[OneEdit]"
"""What a user may pass as an edit."""

_AMOUNT = re.compile(
    r"(?P<raw>raw:\s*)?(?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)\s*(?P<degrees>°|deg)?", re.IGNORECASE
)
_LAYERS = re.compile(r"(?P<name>.+)_layers(?P<first>\d{1,4})-(?P<last>\d{1,4})")
_COMPONENT = re.compile(r"(?P<kind>pc|sefa)(?P<number>\d{1,4})")
_CHANNEL = re.compile(r"s:(?P<layer>\d{1,4})_(?P<channel>\d{1,4})")
_WORDS = "text:"
_SEED = re.compile(r"seed(?P<seed>\d{1,9})")


@dataclass(frozen=True)
class EditParser:
    """Turns what a user writes into edits.

    - `"smile"`: a direction or a mapper of the catalogue;
    - `"pc3"`: component 3 of GANSpace, with steps of one standard deviation;
    - `"sefa2"`: eigenvector 2 of SeFa;
    - `"mix:bob"`: the style of an identity, from the first photograph if there are several; `"mix:seed42"`: the style
      of a random face;
    - `"a person with a beard"`: words, which are whatever has a space in it and is no name, or follows `text:`;
    - `"s:9_409"`: channel 409 of style layer 9, in standard deviations (Wu et al. 2021); `Generator.style_layers` says
      which layer that is;
    - `"smile_layers4-7"`: any of these but style channels, limited to layers 4 to 7; layer 0 is the coarsest.

    An amount can follow a name: `"age=-2"` in steps, or `"pose=5deg"` (`"pose=5°"`) in degrees of the head's yaw, as
    measured in the picture. Some directions of the catalogue have steps that are measured, too, so that they are as
    large on every face: `Direction.step`. `"smile=raw:1"` takes the plain vector of such a direction.

    Args:
        catalogue: Directions and mappers by name.
        generator: The generator from which GANSpace's and SeFa's directions and random styles are computed.
        identities: Pivots by the name of the identity.
        components: Returns the generator's principal components, for callers that cache them; by default they are
            computed whenever an edit needs them.
        words: Returns the direction of a phrase; by default there are no edits in words.
    """

    catalogue: Mapping[str, Direction | LatentMapper]
    generator: Generator
    identities: Mapping[str, Tensor] = field(default_factory=dict)
    components: Callable[[], GANSpace] | None = None
    words: Callable[[str], Direction] | None = None

    def parse(self, edit: Any) -> list[AnyEdit]:
        """Turn what a user wrote into edits.

        Args:
            edit: `None`, a string, a pair `(name, amount)`, a `Direction`, a `LatentMapper`, an `Edit`, a `StyleMix`, a
                `StyleEdit`, a `MapperEdit`, a `MeasuredEdit`, a `YawEdit`, or a sequence of these.

        Returns:
            The edits in the given order; an empty list for `None`.

        Raises:
            InputError: A name is unknown, an amount is not finite, or the edit has another type.
        """
        if edit is None:
            return []
        if isinstance(edit, (Edit, StyleMix, StyleEdit, MapperEdit, MeasuredEdit, YawEdit)):
            return [edit]
        if isinstance(edit, LatentMapper):
            return [MapperEdit(edit)]
        if isinstance(edit, Direction):
            return [Edit(edit)]
        if isinstance(edit, str):
            return [self._parse_text(edit)]
        if isinstance(edit, tuple) and len(edit) == 2 and isinstance(edit[0], str):
            if isinstance(edit[1], Real) and not isinstance(edit[1], bool):
                return [self._measured(self.edit(edit[0], float(edit[1])))]
            if isinstance(edit[1], str) and (match := _AMOUNT.fullmatch(edit[1].strip())):
                return [self._amount(edit[0], match)]
        if isinstance(edit, Sequence) and not any(item is None for item in edit):
            return [parsed for item in edit for parsed in self.parse(item)]
        raise InputError(f"edit {edit!r}; expected a name, a pair such as ('age', -3.0), an Edit, or a list of these")

    def edit(self, name: str, strength: float = 1.0) -> AppliedEdit:
        """The edit that a name stands for.

        Args:
            name: A name as listed above.
            strength: Its amount, in steps.

        Raises:
            InputError: The name is unknown, or the strength is not finite.
        """
        if name not in self.catalogue and name.startswith("s:"):
            return self._channel(name, strength)
        base, first, last = name, None, None
        if name not in self.catalogue and (match := _LAYERS.fullmatch(name)):
            base, first, last = match["name"], int(match["first"]), int(match["last"])
        if base.startswith("mix:"):
            source = self._style(base.removeprefix("mix:"))
            end = self.generator.num_ws - 1 if last is None else last
            return StyleMix(name, source, first or 0, end, strength)
        if isinstance(known := self.catalogue.get(base), LatentMapper):
            if base != name:
                raise InputError(f"no edit is named {name!r}: {base!r} is a mapper, which moves layers of its own")
            return MapperEdit(known, strength)
        return Edit(self._direction(name, base, first, last), strength)

    def _parse_text(self, text: str) -> AnyEdit:
        name, separator, amount = (part.strip() for part in text.partition("="))
        match = _AMOUNT.fullmatch(amount)
        if not name or (separator and not match):
            raise InputError(f"edit {text!r}; expected NAME or NAME=STRENGTH, e.g. smile, age=-3 or pose=5deg")
        return self._measured(self.edit(name)) if match is None else self._amount(name, match)

    def _amount(self, name: str, match: re.Match[str]) -> AnyEdit:
        number = float(match["number"])
        if match["raw"] and match["degrees"]:
            raise InputError(f"{name!r} by {match[0]!r}; give raw:{number:g} or {number:g}deg")
        if match["raw"]:
            return self.edit(name, number)
        if not match["degrees"]:
            return self._measured(self.edit(name, number))
        edit = self.edit(name)
        if not isinstance(edit, Edit):
            kind = "mapper" if isinstance(edit, MapperEdit) else "style"
            raise InputError(f"{name!r} by {match[0]!r}; a {kind} has no angle, give a strength such as {name}=0.5")
        return YawEdit(edit.direction, number)

    def _measured(self, edit: AppliedEdit) -> AnyEdit:
        """The same edit in steps that are measured on the picture, where the direction has such steps."""
        if not isinstance(edit, Edit) or edit.direction.step is None:
            return edit
        return MeasuredEdit(edit.direction, edit.strength)

    def _direction(self, name: str, base: str, first: int | None, last: int | None) -> Direction:
        if isinstance(known := self.catalogue.get(base), Direction):
            direction = known
        elif match := _COMPONENT.fullmatch(base):
            number = int(match["number"])
            if number >= self.generator.w_dim:
                raise InputError(f"no edit is named {name!r}; there are {match['kind']}0 to {self.generator.w_dim - 1}")
            if match["kind"] == "sefa":
                return sefa(self.generator, number + 1, first or 0, last)[number]
            direction = self._space().direction(number)
        elif self.words is not None and base.startswith(_WORDS):
            direction = self.words(base.removeprefix(_WORDS))
        elif self.words is not None and " " in base:
            direction = self.words(self._phrase(base))
        else:
            similar = difflib.get_close_matches(base, self.catalogue, n=1)
            hint = f"; did you mean {similar[0]!r}?" if similar else ""
            raise InputError(f"no edit is named {base!r}, there are {', '.join(self.catalogue) or 'none'}{hint}")
        if first is None or last is None:
            return direction
        limited = direction.layers(first, last, self.generator.num_ws)
        return Direction(name, limited.vector, limited.provenance)

    def _space(self) -> GANSpace:
        return self.components() if self.components else ganspace(self.generator)

    def _channel(self, name: str, strength: float) -> StyleEdit:
        match = _CHANNEL.fullmatch(name)
        if match is None:
            raise InputError(f"edit {name!r}; expected s:LAYER_CHANNEL, e.g. s:9_409 or s:9_409=5")
        return style_edit(self.generator, int(match["layer"]), int(match["channel"]), strength, self._space())

    def _phrase(self, text: str) -> str:
        """Words that are no slip of the pen: `age -2` and `eyes open` are."""
        first = re.split(r"[\s,]", text)[0]
        for name in (first, text.replace(" ", "_")):
            if name in self.catalogue:
                raise InputError(f"edit {text!r}; expected NAME or NAME=STRENGTH, e.g. {name}=-1, or {_WORDS}{text}")
        return text

    @torch.no_grad()
    def _style(self, source: str) -> Tensor:
        for name in (source, f"{source}/1"):
            if name in self.identities:
                return self.identities[name]
        if match := _SEED.fullmatch(source):
            z = torch.randn(1, self.generator.z_dim, generator=torch.Generator().manual_seed(int(match["seed"])))
            return self.generator.mapping(z.to(self.generator.w_avg))[0]
        names = ", ".join(self.identities) or "none"
        raise InputError(f"no identity is named {source!r}, there are {names}; or mix a random style, e.g. mix:seed42")
