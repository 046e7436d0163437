"""PTI Hub's page as a Space on the Hub: the same app, and nothing else.

Settings of the Space: `PTI_HUB_MODEL` names the pipeline, a repository such as me/my-pipeline.
"""

from __future__ import annotations

import contextlib
import os

with contextlib.suppress(ImportError):
    import spaces  # noqa: F401  where GPUs are lent, this has to come before PyTorch

from pti_hub import PTIPipeline
from pti_hub.app import Settings, serve
from pti_hub.app.gpu import is_lent
from pti_hub.pipelines import DEFAULT_CHECKPOINT

if __name__ == "__main__":
    model = os.environ.get("PTI_HUB_MODEL", DEFAULT_CHECKPOINT)
    # A lent GPU is there while faces are learned, and gone when they are painted.
    pipe = PTIPipeline.from_pretrained(model, device="cpu" if is_lent() else None)
    serve(pipe, Settings(visits=8, megapixels=24), host="0.0.0.0", port=7860)
