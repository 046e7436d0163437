"""The one place where the parts meet."""

from pti_hub.pipelines.components import Components
from pti_hub.pipelines.convert import convert
from pti_hub.pipelines.dragging import DragOptions, DragOutput, drag_portrait
from pti_hub.pipelines.exporting import export_identity
from pti_hub.pipelines.output import PTIOutput
from pti_hub.pipelines.pipeline import PTIPipeline
from pti_hub.pipelines.portraits import Portrait, put_back
from pti_hub.pipelines.presets import PRESETS
from pti_hub.pipelines.pretrained import DEFAULT_CHECKPOINT, KNOWN_CHECKPOINTS
from pti_hub.pipelines.run_folder import RunFolder
from pti_hub.pipelines.saving import INDEX_NAME, PIPELINE_FOLDER

__all__ = [
    "DEFAULT_CHECKPOINT",
    "INDEX_NAME",
    "KNOWN_CHECKPOINTS",
    "PIPELINE_FOLDER",
    "PRESETS",
    "Components",
    "DragOptions",
    "DragOutput",
    "PTIOutput",
    "PTIPipeline",
    "Portrait",
    "RunFolder",
    "convert",
    "drag_portrait",
    "export_identity",
    "put_back",
]
