"""Steps in W that move one attribute and hold the others, in their length."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from attribute_names import ATTRIBUTES
from reader import Reader
from recipes import CORRECTED, HELD, RECIPES, Recipe
from torch import Tensor

from pti_hub.edits.learning import independent_steps

LENGTHS = torch.linspace(0, 2.5, 6)
# Attributes in place of landmarks.
READ_AS = {"yaw": "pose"}


def steps_of(recipes: Mapping[str, Recipe], coefficients: Tensor, w: Tensor, num_ws: int) -> Tensor:
    """Steps [E, num_ws, w_dim] of the recipes, one standard deviation each, from coefficients [w_dim, K]."""
    steps = torch.zeros(len(recipes), num_ws, w.shape[1])
    names = list(ATTRIBUTES)
    for step, (name, recipe) in zip(steps, recipes.items(), strict=True):
        which = [names.index(name), *(names.index(held) for held in HELD if held not in (name, *recipe.moves))]
        step[recipe.first : recipe.last + 1] = independent_steps(coefficients[:, which], w)[0].float()
    return steps


def independent(response: Tensor, recipes: Mapping[str, Recipe]) -> Tensor:
    """How to combine steps so that none moves an attribute of `CORRECTED` that it is to hold.

    Args:
        response: [E, C], by how much each step moves each attribute of `CORRECTED`.
        recipes: The steps.

    Returns:
        [E, E], one row of factors for each new step. A step of an attribute of `CORRECTED` moves it by 1.
    """
    names, factors = list(recipes), torch.eye(len(recipes), dtype=response.dtype)
    for k, (name, recipe) in enumerate(recipes.items()):
        held = [c for c, other in enumerate(CORRECTED) if other not in (name, *recipe.moves)]
        steps = [names.index(CORRECTED[c]) for c in held]
        factors[k, steps] = -torch.linalg.solve(response[steps][:, held].T, response[k, held])
        if name in CORRECTED:
            factors[k] /= factors[k] @ response[:, CORRECTED.index(name)]
    return factors


def chosen(predicted: Tensor, corrected: Tensor, recipes: Mapping[str, Recipe]) -> Tensor:
    """Of steps [E, num_ws, w_dim] before and after the correction, those that the recipes ask for."""
    smile = corrected[list(recipes).index("smile")]
    steps = [
        after + recipe.smile * smile if recipe.corrected else before
        for before, after, recipe in zip(predicted, corrected, recipes.values(), strict=True)
    ]
    return torch.stack(steps)


def calibrated(steps: Tensor, base: Tensor, reader: Reader) -> tuple[Tensor, list[float]]:
    """Steps [E, num_ws, w_dim] of the edits in their length, and by how much they change what they are measured by.

    Where the recipe gives the change, the vector is as long as the median face that can go so far needs. Elsewhere the
    recipe gives the length, and the change is what is measured on the median face. A step is a share of that change.
    """
    steps = torch.stack([recipe.step * step for recipe, step in zip(RECIPES.values(), steps, strict=True)])
    read = reader.of_latents(base[None] + LENGTHS[:, None, None, None, None] * steps[:, None, None].transpose(0, 1))
    changes = []
    for k, (name, recipe) in enumerate(RECIPES.items()):
        column = list(ATTRIBUTES).index(READ_AS.get(recipe.measure, recipe.measure or name))
        rises = (read[:, k, :, column] - read[0, k, :, column]) * reader.std[column]  # [lengths, latents]
        if recipe.change:
            needed = [np.interp(recipe.change, np.maximum.accumulate(rise), LENGTHS) for rise in rises.T.numpy()]
            steps[k] *= float(np.median([length for length in needed if length < LENGTHS[-1]]))
        changes.append(round(recipe.share * (recipe.change or float(rises[LENGTHS == 1].median())), 3))
        print(name, "changes by", changes[-1], "longest vector", round(steps[k].norm(dim=1).max().item(), 2))
    return steps, changes
