"""A small CLIP and a small SigLIP with random weights, as transformers saves them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

_SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}


def save_clip(folder: Path, seed: int = 0) -> Path:
    """Write a CLIP of 32 px and its processor, whose words are the printable bytes; returns the folder."""
    from transformers import CLIPConfig, CLIPModel, CLIPProcessor
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    tokenizer = _tokenizer(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = CLIPModel(
            CLIPConfig(
                text_config=_text(tokenizer),
                vision_config=_SMALL | {"image_size": 32, "patch_size": 8},
                projection_dim=24,
            )
        )
    pictures = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    model.save_pretrained(folder)
    CLIPProcessor(image_processor=pictures, tokenizer=tokenizer).save_pretrained(folder)
    return folder


def save_siglip(folder: Path) -> Path:
    """Write a SigLIP of 48 px and its processor, with the words of `save_clip`; returns the folder."""
    from transformers import SiglipConfig, SiglipModel, SiglipProcessor
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    tokenizer = _tokenizer(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        vision = _SMALL | {"image_size": 48, "patch_size": 8}
        model = SiglipModel(SiglipConfig(text_config=_text(tokenizer), vision_config=vision))
    pictures = SiglipImageProcessorPil(size={"height": 48, "width": 48})
    model.save_pretrained(folder)
    SiglipProcessor(image_processor=pictures, tokenizer=tokenizer).save_pretrained(folder)
    return folder


def _tokenizer(folder: Path) -> Any:
    from transformers import CLIPTokenizer

    marks = ["<|startoftext|>", "<|endoftext|>"]
    letters = [chr(code) for code in range(33, 127)]
    vocabulary = [*marks, *letters, *(f"{letter}</w>" for letter in letters)]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(vocabulary)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer.from_pretrained(folder)


def _text(tokenizer: Any) -> dict[str, int]:
    marks = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    return _SMALL | {"vocab_size": len(tokenizer), "max_position_embeddings": 32} | marks
