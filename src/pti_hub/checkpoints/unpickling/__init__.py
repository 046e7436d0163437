"""Readers for untrusted pickles, which run no code that a file names."""

from pti_hub.checkpoints.unpickling.arrays import load_arrays
from pti_hub.checkpoints.unpickling.torch_classes import Record
from pti_hub.checkpoints.unpickling.torch_files import read_torch_file

__all__ = ["Record", "load_arrays", "read_torch_file"]
