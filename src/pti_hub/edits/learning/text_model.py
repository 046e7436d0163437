"""Networks that embed pictures and phrases into one space: CLIP, SigLIP and their kin, by transformers."""

from __future__ import annotations

import functools
import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from pti_hub.errors import InputError, MissingDependencyError, WeightsError, one_line
from pti_hub.storage import fingerprint

DEFAULT_TEXT_MODEL = "openai/clip-vit-base-patch32"
"""The text model that is fetched unless another one is named."""


class TextModel:
    """A network with an encoder for pictures and one for phrases, such as CLIP (Radford et al. 2021) or SigLIP.

    It is loaded, and fetched from the Hub where it is not yet there, when it is first used. No code of a repository
    is run: weights are safetensors or, as the default model's, a pickle that is read as tensors alone.

    Args:
        name: Hub id or folder of a model that transformers' `AutoModel` and `AutoProcessor` load.
        device: Where it runs.

    Raises:
        InputError: The name is empty or no text.
    """

    def __init__(self, name: str = DEFAULT_TEXT_MODEL, device: torch.device | str = "cpu") -> None:
        if not isinstance(name, str) or not name.strip():
            raise InputError(f"text_model={name!r}; expected a Hub id such as {DEFAULT_TEXT_MODEL!r}, or a folder")
        self.name, self.device = name, torch.device(device)

    @functools.cached_property
    def _parts(self) -> tuple[Any, Any]:
        """Model and processor.

        Raises:
            MissingDependencyError: transformers is not installed.
            WeightsError: The model can't be had, or is no such model.
        """
        try:
            from transformers import AutoModel, AutoProcessor
        except ImportError as error:
            raise MissingDependencyError(
                f"edits in words need transformers ({one_line(error)}); run: pip install 'pti-hub[text]'"
            ) from error
        try:
            with _quiet():
                model, report = AutoModel.from_pretrained(
                    self.name, weights_only=True, trust_remote_code=False, output_loading_info=True
                )
                processor = AutoProcessor.from_pretrained(self.name, trust_remote_code=False)
        # Damaged folders make the library raise nearly anything.
        except Exception as error:
            raise WeightsError(
                f"the text model {self.name!r} can't be loaded ({one_line(error)}); connect to the Hub once, or name "
                "a folder that holds such a model"
            ) from error
        if not all(hasattr(model, method) for method in ("get_text_features", "get_image_features")):
            raise WeightsError(
                f"{self.name!r} is a {type(model).__name__}, which does not embed both pictures and phrases; name a "
                f"CLIP or SigLIP, such as {DEFAULT_TEXT_MODEL!r}"
            )
        # The library fills what a file lacks with random weights.
        if lacking := [*report["missing_keys"], *report["mismatched_keys"]]:
            raise WeightsError(f"the text model {self.name!r} lacks {len(lacking)} weights, such as {lacking[0]}")
        return model.requires_grad_(False).eval().to(self.device), processor

    @functools.cached_property
    def key(self) -> str:
        """Name for what is kept of this model's embeddings: of its weights, and of how it prepares pictures."""
        model, processor = self._parts
        preparation = hashlib.sha256(processor.image_processor.to_json_string().encode()).hexdigest()
        return f"embeddings-{fingerprint(model)[:12]}-{preparation[:6]}"

    @torch.no_grad()
    def of_phrases(self, phrases: Sequence[str]) -> Tensor:
        """Unit vectors `[N, D]`, on the CPU.

        Raises:
            MissingDependencyError: transformers is not installed.
            WeightsError: The model can't be had.
        """
        model, processor = self._parts
        longest = model.config.text_config.max_position_embeddings
        # SigLIP was taught on padded phrases, and CLIP does not look at the padding.
        words = processor(
            text=list(phrases), padding="max_length", truncation=True, max_length=longest, return_tensors="pt"
        )
        return self._unit(model.get_text_features, words)

    @torch.no_grad()
    def of_pictures(self, pictures: Sequence[Image.Image]) -> Tensor:
        """Unit vectors `[N, D]`, on the CPU.

        Raises:
            MissingDependencyError: transformers is not installed.
            WeightsError: The model can't be had.
        """
        model, processor = self._parts
        return self._unit(model.get_image_features, processor(images=list(pictures), return_tensors="pt"))

    def _unit(self, method: Callable[..., Any], inputs: Any) -> Tensor:
        features = method(**{name: value.to(self.device) for name, value in inputs.items()})
        # Until version 5 of transformers the result was the tensor itself.
        vectors: Tensor = getattr(features, "pooler_output", features)
        return F.normalize(vectors.float(), dim=-1).cpu()


@contextmanager
def _quiet() -> Iterator[None]:
    """Leaves out what transformers says while it loads: a bar, and advice on packages that are not needed here."""
    from transformers.utils import logging as theirs

    level, had_bars = theirs.get_verbosity(), theirs.is_progress_bar_enabled()
    theirs.set_verbosity(logging.ERROR)
    theirs.disable_progress_bar()
    try:
        yield
    finally:
        theirs.set_verbosity(level)
        if had_bars:
            theirs.enable_progress_bar()
