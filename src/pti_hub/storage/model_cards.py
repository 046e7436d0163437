"""The model card of a saved folder, made from facts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from huggingface_hub import ModelCard, ModelCardData

_PAPER = "[Pivotal Tuning](https://arxiv.org/abs/2106.05744)"
"""A link, by which the Hub files a card under the paper."""

_COLUMNS, _WIDTH = 4, 170
"""Pictures in a row of the gallery, and their width in pixels: a row fits the Hub's page, and holds whole pairs."""

_CITATION = """```bibtex
@article{roich2021pivotal,
  title   = {Pivotal Tuning for Latent-based Editing of Real Images},
  author  = {Roich, Daniel and Mokady, Ron and Bermano, Amit H. and Cohen-Or, Daniel},
  journal = {arXiv preprint arXiv:2106.05744},
  year    = {2021}
}
```"""


def pipeline_card(
    name: str,
    edits: Sequence[str],
    identities: Sequence[str],
    origins: Sequence[Mapping[str, str]],
    base: Mapping[str, str] | None = None,
    repo_id: str | None = None,
    captions: Sequence[str] = (),
) -> ModelCard:
    """The card of a pipeline.

    Args:
        name: The pipeline's name.
        edits: Names of its directions.
        identities: Names of the identities it was personalised to.
        origins: Dicts of `"part"`, `"origin"` and `"licence"`.
        base: The pipeline that a personalised one was tuned on, as in `personalization_card`.
        repo_id: Repository that the card is for; "this repository or folder" by default.
        captions: A caption per picture of the gallery, see `picture_name`.

    Returns:
        The card, with the Hub's metadata.
    """
    subject = f'"{_plain(identities[0])}"' if identities else '"photo.jpg"'
    sections = [
        f"# {_plain(name)}",
        f"A StyleGAN pipeline for editing real photographs by {_PAPER}.",
        *_gallery(captions),
        _usage(repo_id, subject, edits[0] if edits else None),
        f"Edits: {', '.join(map(_plain, edits)) or 'none'}.",
    ]
    if identities:
        sections.append(f"Personalised to: {', '.join(map(_plain, identities))}. {_stored(captions)}")
    sections += ["## Origin and licence of the weights", _origins(origins), "## Citation", _CITATION]
    where = None if base is None else base.get("repo", base["name"])
    # A pipeline may be pushed to where its base is; no repository is tuned on itself.
    return _card(sections, origins, None if where == repo_id else where, "finetune")


def personalization_card(
    base: Mapping[str, str],
    identities: Sequence[str],
    metrics: Mapping[str, Mapping[str, float]],
    settings: Mapping[str, Any],
    origins: Sequence[Mapping[str, str]],
    repo_id: str | None = None,
    captions: Sequence[str] = (),
) -> ModelCard:
    """The card of a personalisation.

    Args:
        base: `"name"` and `"fingerprint"` of the pipeline it was tuned on, `"repo"` and `"revision"` where known.
        identities: Names of its identities.
        metrics: Reconstruction metrics by identity.
        settings: Hyper-parameters, seed and versions.
        origins: Origins of the base's weights, as in `pipeline_card`.
        repo_id: Repository that the card is for; "this repository or folder" by default.
        captions: A caption per picture of the gallery, see `picture_name`.

    Returns:
        The card, with the Hub's metadata.
    """
    where = base.get("repo", base["name"])
    revision = f" at revision `{_plain(base['revision'])}`" if "revision" in base else ""
    sections = [
        f"# Personalisation of {_plain(where)}",
        f"Weight deltas and pivots learned by {_PAPER}. {_stored(captions)}",
        *_gallery(captions),
        _usage(repo_id, f'"{_plain(identities[0])}"', "smile"),
        f"The base, `{_plain(where)}`{revision}, is found automatically; a base with other weights than "
        f"`{_plain(base['fingerprint'])[:16]}…` is refused.",
        "## Identities",
        _table(
            ["identity", "LPIPS", "MSE", "‖w_p − w̄‖"],
            [
                [
                    name,
                    *(f"{metrics.get(name, {}).get(key, float('nan')):.4f}" for key in ("lpips", "mse", "w_distance")),
                ]
                for name in identities
            ],
        ),
        "LPIPS (AlexNet, full size) and MSE (pixel values in [-1, 1]) compare photograph and reconstruction; "
        "‖w_p − w̄‖ is the distance of the pivot from the mean latent.",
        "Whoever has the base can turn a pivot into a picture of the person: use it only as the person has agreed.",
    ]
    if settings:
        table = _table(["setting", "value"], _flat(settings))
        sections += ["## Training", "<details><summary>All settings</summary>", table, "</details>"]
    sections += [
        "## Origin and licence of the weights",
        f"The deltas are changes to the weights of {_plain(where)}, so these licences hold for the deltas too:",
        _origins(origins),
        "## Citation",
        _CITATION,
    ]
    return _card(sections, origins, where, "adapter")


def picture_name(number: int) -> str:
    """Where the picture of a card's gallery lies, beside the card."""
    return f"gallery/{number}.jpg"


def _usage(repo_id: str | None, subject: str, edit: str | None) -> str:
    argument = f', edit="{_plain(edit)}"' if edit else ""
    return f"""```python
from pti_hub import PTIPipeline

pipe = PTIPipeline.from_pretrained("{repo_id or "this repository or folder"}")
pipe({subject}{argument}).images[0].save("edited.png")
```"""


def _stored(captions: Sequence[str]) -> str:
    return "No photograph is stored" + (" but for the pictures shown here." if captions else ".")


def _gallery(captions: Sequence[str]) -> list[str]:
    """Pictures below their captions, as a table: the Hub's own gallery is for texts that became pictures."""
    if list(captions) == [""]:
        return [f"![what it does]({picture_name(0)})"]
    pictures = [
        f'<img src="{picture_name(number)}" alt="{_plain(caption)}" width="{_WIDTH}">'
        for number, caption in enumerate(captions)
    ]
    lines = []
    for start in range(0, len(pictures), _COLUMNS):
        row = slice(start, start + _COLUMNS)
        # The first line is the table's head, which is bold already.
        names = [_plain(name) if start == 0 else f"**{_plain(name)}**" for name in captions[row]]
        lines += [f"| {' | '.join(cells)} |" for cells in (names, pictures[row])]
    lines.insert(1, "|:---:" * min(len(pictures), _COLUMNS) + "|")
    return ["\n".join(lines)]


def _flat(settings: Mapping[str, Any], name: str = "") -> list[list[str]]:
    rows = []
    for key, value in settings.items():
        path = f"{name}.{key}" if name else key
        rows += _flat(value, path) if isinstance(value, Mapping) else [[path, str(value)]]
    return rows


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(map(_plain, row))} |" for row in (head, *rows)]
    return "\n".join([lines[0], "|---" * len(head) + "|", *lines[1:]])


def _plain(text: str) -> str:
    """A stranger's name made fit for a table, a sentence or a string of code: without markup."""
    return re.sub(r'[\s|`"\\<>\[\]]+', " ", "".join(c if c.isprintable() else " " for c in str(text))).strip()


def _origins(origins: Sequence[Mapping[str, str]]) -> str:
    if not origins:
        return "Not recorded: ask whoever made this pipeline."
    keys = ("part", "origin", "licence")
    return _table(keys, [[origin.get(key, "") for key in keys] for origin in origins])


def _card(sections: Sequence[str], origins: Sequence[Mapping[str, str]], base: str | None, relation: str) -> ModelCard:
    # The Hub refuses a base that is no repository's name.
    if base is not None and not re.fullmatch(r"[\w.-]+/[\w.-]+", base):
        base = None
    data = ModelCardData(
        library_name="pti-hub",
        pipeline_tag="image-to-image",
        license="other",
        license_name="see-card",
        license_link="README.md",
        base_model=base,
        base_model_relation=relation if base else None,
        datasets=["ffhq"] if any("FFHQ" in origin.get("origin", "") for origin in origins) else None,
        tags=["pivotal-tuning", "gan-inversion", "stylegan", "image-editing"],
    )
    return ModelCard(f"---\n{data.to_yaml()}\n---\n\n" + "\n\n".join(sections) + "\n")
