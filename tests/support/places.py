"""Where things lie that tests read."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"

GOLDEN = ROOT / "tests" / "golden"
"""Values that the authors' own code computed."""

PORTRAITS = sorted((ROOT.parent / "shared" / "data" / "faces").glob("*.jpg"))
"""CelebA-HQ portraits beside the checkout, where there are any."""
