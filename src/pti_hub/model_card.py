"""The model card of a saved folder, made from facts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from huggingface_hub import ModelCard, ModelCardData

_HOW = """```python
from pti_hub import PTIPipeline

pipe = PTIPipeline.from_pretrained("this repository or folder")
pipe({call}).images[0].save("edited.png")
```"""

_CITATION = """```bibtex
@article{roich2021pivotal,
  title   = {Pivotal Tuning for Latent-based Editing of Real Images},
  author  = {Roich, Daniel and Mokady, Ron and Bermano, Amit H. and Cohen-Or, Daniel},
  journal = {arXiv preprint arXiv:2106.05744},
  year    = {2021}
}
```"""


def pipeline_card(
    name: str, edits: Sequence[str], identities: Sequence[str], origins: Sequence[Mapping[str, str]]
) -> ModelCard:
    """Card of a pipeline.

    Args:
        name: The pipeline's name.
        edits: Names of its directions.
        identities: Names of the identities it was personalised to.
        origins: Dicts of `"part"`, `"origin"` and `"licence"`.

    Returns:
        The card, with the Hub's metadata.
    """
    sections = [
        f"# {name}",
        "A StyleGAN pipeline for editing real photographs by Pivotal Tuning.",
        _HOW.format(call='"photo.jpg"' + (f', edit="{edits[0]}"' if edits else "")),
        f"Edits: {', '.join(edits) or 'none'}.",
    ]
    if identities:
        sections.append(f"Personalised to: {', '.join(identities)}. No photograph is stored.")
    sections += ["## Origin and licence of the weights", _origins(origins), "## Citation", _CITATION]
    return _card(sections)


def personalization_card(
    base: str,
    identities: Sequence[str],
    metrics: Mapping[str, Mapping[str, float]],
    origins: Sequence[Mapping[str, str]],
) -> ModelCard:
    """Card of a personalisation.

    Args:
        base: Name of the pipeline it was tuned on.
        identities: Names of its identities.
        metrics: Reconstruction metrics by identity.
        origins: Of the base's weights, as in `pipeline_card`.

    Returns:
        The card, with the Hub's metadata.
    """
    rows = ["| identity | LPIPS | MSE |", "|---|---|---|"]
    for identity in identities:
        found = metrics.get(identity, {})
        rows.append(f"| {identity} | {found.get('lpips', float('nan')):.3f} | {found.get('mse', float('nan')):.4f} |")
    code = [
        "```python",
        "from pti_hub import PTIPipeline",
        "",
        f'pipe = PTIPipeline.from_pretrained("{base}")',
        'pipe.load_personalization("this repository or folder")',
        f'pipe("{identities[0]}").images[0].save("picture.png")',
        "```",
    ]
    sections = [
        f"# Personalisation of {base}",
        "Weight deltas and pivots learned by Pivotal Tuning. No photograph is stored.",
        "\n".join(code),
        "\n".join(rows),
        "## Origin and licence of the weights",
        f"The deltas are changes to the weights of {base}, whose licences hold for them too:",
        _origins(origins),
        "## Citation",
        _CITATION,
    ]
    return _card(sections)


def _origins(origins: Sequence[Mapping[str, str]]) -> str:
    if not origins:
        return "Not recorded: ask whoever made this pipeline."
    rows = [f"| {o.get('part', '')} | {o.get('origin', '')} | {o.get('licence', '')} |" for o in origins]
    return "\n".join(["| part | origin | licence |", "|---|---|---|", *rows])


def _card(sections: Sequence[str]) -> ModelCard:
    data = ModelCardData(
        library_name="pti-hub",
        pipeline_tag="image-to-image",
        license="other",
        license_name="see-card",
        license_link="README.md",
        tags=["pivotal-tuning", "gan-inversion", "stylegan", "image-editing"],
    )
    return ModelCard(f"---\n{data.to_yaml()}\n---\n\n" + "\n\n".join(sections) + "\n")
