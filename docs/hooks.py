"""What MkDocs can't read from docs/: the commands, notebooks, and links that lead out of docs/."""

from __future__ import annotations

import json
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


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """List the notebooks after the other tutorials."""
    tutorials = next(section["Tutorials"] for section in config.nav if "Tutorials" in section)
    if found := notebooks_in(Path(config.docs_dir)):
        tutorials.append({"Notebooks": [f"notebooks/{path.stem}.md" for path in found]})
    return config


def notebooks_in(docs: Path) -> list[Path]:
    """The notebooks, in the order of their names."""
    return sorted((docs / "notebooks").glob("*.ipynb"))


def page_of(notebook: Path) -> str:
    """A notebook as Markdown, with what its cells printed and the pictures they showed."""
    parts = []
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if (kind := next((kind for kind in ("image/png", "image/jpeg") if kind in data), None)) is not None:
                parts.append(f"![what the cell shows](data:{kind};base64,{''.join(data[kind].split())})")
            elif output.get("name") != "stderr" and (text := "".join(output.get("text") or data.get("text/plain", ""))):
                parts.append(f"```text\n{text.rstrip()}\n```")
    return "\n\n".join([*parts, f"[This page as a notebook]({notebook.name})"])


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the notebooks, and the one that typer writes of the commands."""
    for notebook in notebooks_in(Path(config.docs_dir)):
        files.append(File.generated(config, f"notebooks/{notebook.stem}.md", content=page_of(notebook)))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), *sys.path[1:]])}
    command = [sys.executable, "-m", "typer", "pti_hub.cli.commands", "utils", "docs", "--name", "pti-hub"]
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
