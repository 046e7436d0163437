"""Smile, age and gender of faces: labels from which edit directions are learned.

The module ports the expression network and the age-and-gender network of the npm package `@vladmandic/face-api` 1.7.15
(MIT) to PyTorch, and reads their 0.8 MB of weights straight from the tarball:

    npm pack @vladmandic/face-api@1.7.15
    attributes = FaceAttributes.from_package("vladmandic-face-api-1.7.15.tgz")
    labels = attributes.predict([face_crop(image, landmarks) for image, landmarks in faces])
    labels["happy"], labels["age"], labels["female"]
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from age_gender_net import AgeGenderNet
from expression_net import EXPRESSIONS, ExpressionNet
from face_crop import SIZE, to_images
from PIL import Image
from tensorflow_weights import PACK_COMMAND, read_weights, to_torch
from torch import Tensor, nn

from pti_hub.errors import InputError, WeightsError


class FaceAttributes(nn.Module):
    """Both networks for batches of face crops; create it with `from_package`, and the crops with `face_crop`."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.expression = ExpressionNet()
        self.age_gender = AgeGenderNet()
        mean = torch.tensor([122.782, 117.001, 104.298])  # RGB, in the range 0 to 255
        self.register_buffer("mean", mean.view(1, 3, 1, 1), persistent=False)

    @classmethod
    def from_package(cls, path: str | Path) -> FaceAttributes:
        """Load the weights of both networks.

        Args:
            path: The tarball of `@vladmandic/face-api` 1.7.15, as npm packs it, or the unpacked folder, which holds
                `model/`.

        Returns:
            The networks with their weights, frozen, on the CPU, in fp32.

        Raises:
            WeightsError: The tarball or folder, or a file in it, is missing or damaged.
        """
        model = cls()
        for net, name in (
            (model.expression, "face_expression_model"),
            (model.age_gender, "age_gender_model"),
        ):
            try:
                net.load_state_dict(to_torch(read_weights(path, name)))
            except RuntimeError as error:  # torch's own message has one line per name
                raise WeightsError(
                    f"{path} holds other weights for {name} than version 1.7.15; run: {PACK_COMMAND}"
                ) from error
        return model.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Attributes of a batch of face crops; differentiable with respect to the images.

        Args:
            images: [B, 3, 112, 112], RGB in [-1, 1].

        Returns:
            Tensors [B] by name: the probabilities of the seven `EXPRESSIONS`, which sum to 1 (`"happy"` is the smile);
            `"age"` in years; and the probability `"female"`.

        Raises:
            InputError: The images have another shape.
        """
        expression, age, gender = self.logits(images)
        return {
            **dict(zip(EXPRESSIONS, expression.softmax(dim=1).unbind(dim=1), strict=True)),
            "age": age,
            "female": gender.softmax(dim=1)[:, 1],
        }

    def logits(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Outputs before the softmax, which would saturate; differentiable with respect to the images.

        Args:
            images: [B, 3, 112, 112], RGB in [-1, 1].

        Returns:
            Logits of the seven `EXPRESSIONS` [B, 7], ages in years [B], logits of male and female [B, 2].

        Raises:
            InputError: The images have another shape.
        """
        if images.ndim != 4 or tuple(images.shape[1:]) != (3, SIZE, SIZE):
            raise InputError(
                f"got images of shape {list(images.shape)}, expected [B, 3, {SIZE}, {SIZE}]; "
                "cut the faces out with face_crop"
            )
        x = ((images + 1) * 127.5 - self.mean) / 255
        # Depthwise convolutions on a CPU are three times as fast in this layout.
        x = x.contiguous(memory_format=torch.channels_last)
        age, gender = self.age_gender(x)
        return self.expression(x), age, gender

    @torch.no_grad()
    def predict(self, faces: Sequence[Image.Image]) -> dict[str, Tensor]:
        """Attributes of face crops, given as pictures and computed on the networks' device.

        Args:
            faces: Crops of 112x112 pixels, from `face_crop`.

        Returns:
            Attributes by name, as in `forward`.

        Raises:
            InputError: `faces` is empty, or a face has another size.
        """
        result: dict[str, Tensor] = self(to_images(faces).to(self.mean.device))
        return result
