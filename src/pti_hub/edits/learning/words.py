"""Directions from phrases: what pictures and words have in common in CLIP's space, brought back to latent space."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from pti_hub.edits.direction import Direction, Step
from pti_hub.edits.learning.regression import covariance_root, ridge
from pti_hub.edits.learning.samples import Samples
from pti_hub.edits.learning.text_model import TextModel
from pti_hub.errors import InputError
from pti_hub.faces import Measure
from pti_hub.perceptual import LPIPS

# Share of the similarity's deviation over the samples that counts as a change at all.
_TOLERANCE = 0.05


class _Fit(NamedTuple):
    """What every phrase needs of the samples.

    Attributes:
        embeddings: `[N, D]`.
        coefficients: `[w_dim, D]`, from latents to embeddings, both centred.
        root: √Σ `[w_dim, w_dim]` of the latents.
    """

    embeddings: Tensor
    coefficients: Tensor
    root: Tensor


class PhraseDistance:
    """D_CLIP(x, t) = 1 - cos(E(x), E(t)) of pictures x to one phrase t, differentiable (Patashnik et al. 2021, Eq. 1).

    Args:
        model: Embeds pictures.
        embedded: E(t), a unit vector `[D]`.
        phrase: t.

    Attributes:
        resolution: Height and width in pixels of pictures that are large enough.
    """

    def __init__(self, model: TextModel, embedded: Tensor, phrase: str) -> None:
        self.model, self.phrase, self.resolution = model, phrase, model.picture_size
        self._embedded = embedded.float().to(model.device)

    def __call__(self, pictures: Tensor) -> Tensor:
        """Distances `[B]` of pictures `[B, 3, R, R]` in [-1, 1].

        Args:
            pictures: Pictures of at least the text model's resolution.
        """
        return 1 - self.model.embed(pictures) @ self._embedded


class Words:
    """Directions from phrases, in closed form.

    The samples' pictures are embedded once, which takes minutes and is kept. The embeddings are regressed on the
    latents. A phrase is a direction t in the embeddings' space, from a neutral phrase to it; a latent's projection on
    t is then linear in w, and the step is the one that `independent_steps` takes for a single label.

    Args:
        samples: Makes the latents and pictures of the generator; called when they are first needed.
        model: Embeds pictures and phrases.
        neutral: What the pictures show anyway; a phrase says what is to be different.
    """

    def __init__(self, samples: Callable[[], Samples], model: TextModel, neutral: str = "a face") -> None:
        self._samples, self.model, self.neutral = samples, model, neutral
        self._known: dict[str, Direction] = {}

    @functools.cached_property
    def _fit(self) -> _Fit:
        samples = self._samples()
        embeddings = samples.measure(self.model.of_pictures, self.model.key).double()
        w = samples.latents.double() - samples.latents.double().mean(0)
        return _Fit(embeddings, ridge(w, embeddings - embeddings.mean(0))[0], covariance_root(w))

    @functools.cached_property
    def _neutral(self) -> Tensor:
        return self.model.of_phrases([self.neutral])[0].double()

    def direction(self, phrase: str) -> Direction:
        """The direction of a phrase, such as `"a person with a beard"`.

        One step raises the picture's similarity, the projection on t, by its standard deviation over the samples. On a
        picture at hand the strength is found by measuring that similarity: `Direction.step`.

        Args:
            phrase: The phrase.

        Raises:
            InputError: The phrase is empty, means the same as the neutral one, or the samples do not differ in it.
            MissingDependencyError: transformers is not installed.
            WeightsError: The text model can't be had.
            SaveError: The samples' pictures can't be kept.
        """
        text = _words_of(phrase)
        # The same object, so that what was measured along it is known again.
        if text not in self._known:
            self._known[text] = self._learn(text)
        return self._known[text]

    def _learn(self, text: str) -> Direction:
        toward = self._toward(text)
        embeddings, coefficients, root = self._fit
        projections = embeddings @ toward
        deviation = projections.std().item()
        b = coefficients @ toward  # [w_dim]
        step = root @ b
        predicted = (b @ step).item()
        if not (deviation > 1e-9 and predicted > 0):
            raise InputError(f"the generator's pictures do not differ in {text!r}; say it in other words")
        measure = Measure(
            f"similarity to {text!r}",
            f"likeness to {text!r}",
            "",
            _TOLERANCE * deviation,
            functools.partial(self._along, toward),
        )
        provenance = f"{self.model.name} on {len(embeddings)} samples, from {self.neutral!r}"
        name, vector = f"text:{text.replace('=', ' ')}", (step * deviation / predicted).float()
        return Direction(name, vector, provenance, {}, Step(measure, deviation))

    def _toward(self, text: str) -> Tensor:
        """t `[D]`, of unit length."""
        return self._direction_to(self.model.of_phrases([text])[0], text)

    def _direction_to(self, embedded: Tensor, text: str) -> Tensor:
        if not (difference := embedded.double() - self._neutral).norm() > 1e-6:
            raise InputError(f"{text!r} means the same as {self.neutral!r} to {self.model.name}; say what is different")
        return F.normalize(difference, dim=0)

    def distance(self, phrase: str) -> PhraseDistance:
        """The distance of pictures to a phrase, for what is optimised; it needs no samples.

        Args:
            phrase: The phrase.

        Raises:
            InputError: The phrase is empty, or means the same as the neutral one.
            MissingDependencyError: transformers is not installed.
            WeightsError: The text model can't be had, or its processor does what `TextModel.embed` can't.
        """
        text = _words_of(phrase)
        (embedded,) = self.model.of_phrases([text])
        self._direction_to(embedded, text)
        return PhraseDistance(self.model, embedded, text)

    def similarity(self, picture: Image.Image, phrase: str) -> float:
        """Projection of a picture's embedding on t of a phrase.

        Args:
            picture: A picture of mode RGB.
            phrase: A phrase whose direction t is taken.
        """
        return self._along(self._toward(phrase), picture)

    def _along(self, toward: Tensor, picture: Image.Image, _: LPIPS | None = None) -> float:
        return float(self.model.of_pictures([picture]).double()[0] @ toward)


def _words_of(phrase: str) -> str:
    if not (text := " ".join(phrase.split())):
        raise InputError("an edit in words is empty; say what the picture is to show, e.g. 'text:a beard'")
    return text
