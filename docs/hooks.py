"""What MkDocs can't read from docs/: the page of the command line, and links that lead out of docs/."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\((\.\./[^)#]*)(#[^)]*)?\)")
LOG = logging.getLogger("mkdocs.hooks")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page that typer writes of the commands."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), *sys.path[1:]])}
    command = [sys.executable, "-m", "typer", "pti_hub.cli", "utils", "docs", "--name", "pti-hub"]
    text = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    # The list of commands has their first words alone, and the page's contents have all of them.
    text = re.sub(r"\*\*Commands\*\*:.*?(?=\n## )", "", text, count=1, flags=re.DOTALL)
    files.append(File.generated(config, "reference/cli.md", content=text.replace("# `pti-hub`", "# Command line", 1)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Make links out of docs/ addresses in the repository; where there is no address, the words alone."""
    folder = Path(config.docs_dir, page.file.src_uri).parent

    def outside(link: re.Match[str]) -> str:
        words, path, anchor = link[1], link[2], link[3] or ""
        target = (folder / path).resolve()
        if target.is_relative_to(config.docs_dir):
            return link[0]
        if not target.is_relative_to(ROOT) or not target.exists():
            LOG.warning("%s links to %s, which is not there", page.file.src_uri, path)
        address = str(config.repo_url or "").rstrip("/")
        return f"[{words}]({address}/blob/HEAD/{target.relative_to(ROOT)}{anchor})" if address else words

    return LINK.sub(outside, markdown)
