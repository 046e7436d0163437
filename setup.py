"""What pyproject.toml can't say: the description for a package index, whose pages have no files beside them."""

from __future__ import annotations

import os
import re
from pathlib import Path

from setuptools import setup

REPOSITORY = os.environ.get("PTI_HUB_REPOSITORY", "").rstrip("/")
"""Address of the repository, as a browser takes it; `make dist REPOSITORY=…` sets it."""

_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|#)([^)]+)\)")


def description(readme: str, repository: str) -> str:
    """Give README.md links that lead out of an index's page.

    Args:
        readme: Text of README.md.
        repository: Address of the repository; may be empty.

    Returns:
        The text with relative links and pictures made addresses in the repository. Without a repository pictures are
        left out and links become the words they stand on, since a page without is better than one with holes.
    """

    def absolute(link: re.Match[str]) -> str:
        is_picture, words, path = link.groups()
        if not repository:
            return "" if is_picture else words
        return f"{is_picture}[{words}]({repository}/{'raw' if is_picture else 'blob'}/HEAD/{path})"

    text = _LINK.sub(absolute, readme)
    if repository:
        text = re.sub(r"git clone REPOSITORY pti-hub.*", f"git clone {repository} pti-hub", text)
    return re.sub(r"\n{3,}", "\n\n", text)


setup(
    long_description=description(Path(__file__).with_name("README.md").read_text(encoding="utf-8"), REPOSITORY),
    long_description_content_type="text/markdown",
    project_urls={"Repository": REPOSITORY} if REPOSITORY else {},
)
