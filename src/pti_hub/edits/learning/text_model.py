"""Networks that embed pictures and phrases into one space: CLIP, SigLIP and their kin, by transformers."""

from __future__ import annotations

import functools
import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from pti_hub.errors import InputError, MissingDependencyError, WeightsError, one_line
from pti_hub.images import to_pil
from pti_hub.storage import fingerprint

DEFAULT_TEXT_MODEL = "openai/clip-vit-base-patch32"
"""The text model that is fetched unless another one is named."""

# Least cosine between the embeddings of one picture that was prepared by the processor, and prepared by tensors.
_SAME = 0.99
_BILINEAR = 2  # Pillow's number


class _Preparation(NamedTuple):
    """What the processor does to a square picture.

    Attributes:
        size: Height and width to which the picture is resized.
        crop: Height and width of what is cut from the centre after that.
        mode: Interpolation, as PyTorch names it.
        factor: Factor on the values, which are 0 to 255 before it.
        mean: Colour that is subtracted then, `[3, 1, 1]`.
        std: What the difference is divided by, `[3, 1, 1]`.
    """

    size: tuple[int, int]
    crop: tuple[int, int]
    mode: str
    factor: float
    mean: Tensor
    std: Tensor

    def __call__(self, pictures: Tensor) -> Tensor:
        """Pictures `[B, 3, R, R]` in [-1, 1], as the network takes them: `[B, 3, *crop]`."""
        # Pictures are shown, and resized, within their range of values.
        x = F.interpolate(pictures.float().clamp(-1, 1), size=self.size, mode=self.mode, antialias=True).clamp(-1, 1)
        (height, width), (top, left) = self.crop, ((a - b) // 2 for a, b in zip(self.size, self.crop, strict=True))
        x = x[:, :, top : top + height, left : left + width]
        return ((x + 1) * (127.5 * self.factor) - self.mean) / self.std


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
    def _preparation(self) -> _Preparation:
        """What `embed` does to pictures.

        Raises:
            WeightsError: The processor does something else to pictures.
        """
        model, processor = self._parts
        try:
            prepare = _preparation_of(processor.image_processor.to_dict(), self.device)
            # Slowly varying colours, which look alike however they are resized.
            ramp = torch.linspace(-0.9, 0.9, max(prepare.size), device=self.device).expand(max(prepare.size), -1)
            picture = torch.stack([ramp, ramp.T, -ramp])[None]  # [1, 3, side, side]
            with torch.no_grad():
                ours = _unit(model.get_image_features(pixel_values=prepare(picture))).cpu()
            if (cosine := float((ours * self.of_pictures(to_pil(picture))).sum())) < _SAME:
                raise ValueError(f"cosine {cosine:.3f}")
        # A processor of another kind lacks settings, or has others.
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise WeightsError(
                f"the text model {self.name!r} prepares pictures in a way that has no gradient here "
                f"({one_line(error)}); name a CLIP or SigLIP, such as {DEFAULT_TEXT_MODEL!r}"
            ) from error
        return prepare

    @property
    def picture_size(self) -> int:
        """Height and width in pixels of the smallest picture that `embed` need not enlarge.

        Raises:
            MissingDependencyError: transformers is not installed.
            WeightsError: The model can't be had, or its processor does what `embed` can't.
        """
        return max(self._preparation.size)

    def embed(self, pictures: Tensor) -> Tensor:
        """What `of_pictures` gives, up to rounding, for tensors and differentiable with respect to them.

        Args:
            pictures: `[B, 3, R, R]` in [-1, 1], on the model's device; values outside count as the nearest inside.

        Returns:
            Unit vectors `[B, D]`, fp32. No gradient flows into the model's weights.

        Raises:
            MissingDependencyError: transformers is not installed.
            WeightsError: The model can't be had, or its processor does what `embed` can't.
        """
        return _unit(self._parts[0].get_image_features(pixel_values=self._preparation(pictures)))

    @functools.cached_property
    def key(self) -> str:
        """Name for what is kept of this model's embeddings: of its weights, and of how it prepares pictures."""
        model, processor = self._parts
        preparation = hashlib.sha256(processor.image_processor.to_json_string().encode()).hexdigest()
        return f"embeddings-{fingerprint(model)[:12]}-{preparation[:6]}"

    @torch.no_grad()
    def of_phrases(self, phrases: Sequence[str]) -> Tensor:
        """Unit vectors `[N, D]`, on the CPU.

        Args:
            phrases: N phrases.

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
        return self._of(model.get_text_features, words)

    @torch.no_grad()
    def of_pictures(self, pictures: Sequence[Image.Image]) -> Tensor:
        """Unit vectors `[N, D]`, on the CPU.

        Args:
            pictures: N pictures of mode RGB, of any size.

        Raises:
            MissingDependencyError: transformers is not installed.
            WeightsError: The model can't be had.
        """
        model, processor = self._parts
        return self._of(model.get_image_features, processor(images=list(pictures), return_tensors="pt"))

    def _of(self, method: Callable[..., Any], inputs: Any) -> Tensor:
        return _unit(method(**{name: value.to(self.device) for name, value in inputs.items()})).cpu()


def _unit(features: Any) -> Tensor:
    # Until version 5 of transformers the result was the tensor itself.
    vectors: Tensor = getattr(features, "pooler_output", features)
    return F.normalize(vectors.float(), dim=-1)


def _preparation_of(settings: Mapping[str, Any], device: torch.device) -> _Preparation:
    """The preparation that a processor's settings describe."""

    def height_and_width(name: str) -> tuple[int, int]:
        edges = settings[name]
        return tuple(int(edges.get("shortest_edge") or edges[edge]) for edge in ("height", "width"))  # type: ignore[return-value]

    size = height_and_width("size")
    crop = height_and_width("crop_size") if settings.get("do_center_crop") else size
    normalises = settings.get("do_normalize", True)
    mean, std = (settings["image_mean"], settings["image_std"]) if normalises else ([0.0] * 3, [1.0] * 3)
    return _Preparation(
        size,
        crop,
        "bilinear" if settings.get("resample") == _BILINEAR else "bicubic",
        float(settings.get("rescale_factor", 1 / 255)) if settings.get("do_rescale", True) else 1.0,
        torch.tensor(mean, device=device).view(3, 1, 1),
        torch.tensor(std, device=device).view(3, 1, 1),
    )


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
