"""Faces in photographs: detection, alignment, compositing, identity and pose."""

from pti_hub.faces.alignment import align, crop_quad, is_aligned
from pti_hub.faces.attributes import attributes, shipped_attributes
from pti_hub.faces.compositing import Compositor, Placement
from pti_hub.faces.detector import Face, FaceAnalyzer, FaceChoice, choose, select, widest
from pti_hub.faces.drawing import draw_numbers
from pti_hub.faces.identity import embedding, identity_distance
from pti_hub.faces.importance import face_importance
from pti_hub.faces.likeness import Likeness
from pti_hub.faces.measures import MEASURES, Measure
from pti_hub.faces.occlusion import find_occluders
from pti_hub.faces.pose import HeadPose, eye_openness, head_pose, mouth_openness, mouth_width
from pti_hub.faces.preparation import Align, AlignedFace, aligned_faces

__all__ = [
    "MEASURES",
    "Align",
    "AlignedFace",
    "Compositor",
    "Face",
    "FaceAnalyzer",
    "FaceChoice",
    "HeadPose",
    "Likeness",
    "Measure",
    "Placement",
    "align",
    "aligned_faces",
    "attributes",
    "choose",
    "crop_quad",
    "draw_numbers",
    "embedding",
    "eye_openness",
    "face_importance",
    "find_occluders",
    "head_pose",
    "identity_distance",
    "is_aligned",
    "mouth_openness",
    "mouth_width",
    "select",
    "shipped_attributes",
    "widest",
]
