"""People at the page: saved, loaded, animated, published."""

from __future__ import annotations

import io
import re
import secrets
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from huggingface_hub import get_hf_file_metadata, hf_hub_url

from pti_hub.app.edit_lines import name_of
from pti_hub.app.studio import PREVIEW, Studio, portrait_of
from pti_hub.app.visits import Visit
from pti_hub.errors import InputError, MissingDependencyError, WeightsError, printable
from pti_hub.images import import_av, save_animation
from pti_hub.personalization import CONFIG_NAME, WEIGHTS_NAME, Personalization
from pti_hub.pipelines import Portrait
from pti_hub.storage import fetch_repository
from pti_hub.storage.hub import explained_hub_errors

_REPOSITORY = re.compile(r"[\w-][\w.-]*/[\w.-]+", re.ASCII)
_LARGEST = 100_000_000
"""Size of an unpacked personalisation, in bytes, at most."""
_MOST_FILES = 50
_FRAMES = 9
"""Pictures from one end of an animation to the other."""


def archive(studio: Studio, visit: Visit, who: str) -> str:
    """A personalisation as a ZIP file: weights and latents, no photograph.

    Returns:
        Address of the file.
    """
    person, content = portrait_of(visit, who).personalization, io.BytesIO()
    with TemporaryDirectory() as temporary, zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as file:
        folder = Path(temporary) / "personalization"
        person.save_pretrained(folder)
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                file.write(path, path.relative_to(folder))
    name = f"{Path(visit.name).stem}_{who}.zip" if visit.is_home(who) else f"{who}.zip"
    return studio.pictures.put(visit.key, "archive", content.getvalue(), "application/zip", name.replace(" ", "_"))


def load(studio: Studio, visit: Visit, source: str) -> list[str]:
    """Load people from a repository on the Hub or, if the page is local, from a folder.

    Returns:
        What the page calls them.

    Raises:
        InputError: The source is empty or a folder of the server, or the people belong to another generator.
        WeightsError: They can't be had, or are damaged.
    """
    source = source.strip()
    if not source:
        raise InputError("no source; give a repository on the Hub, such as me/ada")
    if studio.settings.is_local:
        return welcome(studio, visit, Personalization.from_pretrained(source))
    if not _REPOSITORY.fullmatch(source):
        raise InputError(
            f"{printable(source)!r} is no repository on the Hub; give a name such as me/ada, or a ZIP file"
        )
    # Strangers see what everybody may see, and leave nothing.
    with TemporaryDirectory() as cache:
        _check_size(source)
        folder = fetch_repository(source, token=False, cache_dir=cache, allow_patterns=[CONFIG_NAME, WEIGHTS_NAME])
        return welcome(studio, visit, Personalization.from_pretrained(folder))


def _check_size(repository: str) -> None:
    """Make sure that a public repository holds a personalisation of usual size."""
    for name in (CONFIG_NAME, WEIGHTS_NAME):
        with explained_hub_errors(repository, WeightsError):
            size = get_hf_file_metadata(hf_hub_url(repository, name), token=False).size
        if size is None or size > _LARGEST:
            raise WeightsError(f"{repository} holds files of more than {_LARGEST // 1_000_000} MB; load it elsewhere")


def load_archive(studio: Studio, visit: Visit, path: Path) -> list[str]:
    """Load people from a ZIP file that `archive` has made.

    Returns:
        What the page calls them.

    Raises:
        WeightsError: It is no such file.
        InputError: The people belong to another generator.
    """
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        try:
            with zipfile.ZipFile(path) as file:
                _unpack(file, folder)
        except WeightsError:
            raise
        except Exception as error:  # A damaged file gives BadZipFile, zlib.error, RuntimeError, struct.error, ...
            raise WeightsError("the file is no ZIP file of a personalisation, or is damaged") from error
        return welcome(studio, visit, Personalization.from_pretrained(folder))


def _unpack(file: zipfile.ZipFile, folder: Path) -> None:
    """Write the files of an archive into a folder: no folders, and never more bytes than the archive says."""
    entries = [entry for entry in file.infolist() if not entry.is_dir()]
    names = [entry.filename for entry in entries]
    is_flat = all(Path(name).name == name and "\\" not in name for name in names)
    if CONFIG_NAME not in names or not is_flat or len(entries) > _MOST_FILES:
        raise WeightsError(f"the ZIP file holds no personalisation; expected {CONFIG_NAME} and its weights, no folders")
    if sum(entry.file_size for entry in entries) > _LARGEST:
        raise WeightsError(f"the ZIP file unpacks to more than {_LARGEST // 1_000_000} MB")
    for entry in entries:
        with file.open(entry) as packed:
            (folder / entry.filename).write_bytes(packed.read(entry.file_size + 1))


def welcome(studio: Studio, visit: Visit, people: Personalization) -> list[str]:
    """Make the identities of a personalisation known to a visit.

    Returns:
        What the page calls them.

    Raises:
        InputError: They belong to another generator.
    """
    people.check(studio.pipe.generator, studio.pipe.base)
    welcomed = []
    for name in people.pivots:
        who = visit.free_name(name)
        visit.meet(who, Portrait(studio.pipe, people, name))
        welcomed.append(who)
    return welcomed


def mix(studio: Studio, visit: Visit, who: str, source: str, share: tuple[float, float]) -> str:
    """The edit that mixes in the style of somebody else, or of a random face.

    Args:
        studio: The studio.
        visit: Whose page it is.
        who: Who is edited.
        source: Whose style; nobody's name stands for a random face.
        share: The first and the last layer, as shares of their number.

    Returns:
        The edit as a line of text.

    Raises:
        InputError: Who is edited is to be mixed with themselves.
    """
    portrait_of(visit, who)
    if source == who:
        raise InputError(f"{who} has the style of {who} already; choose somebody else")
    name = source if source in visit.portraits else f"seed{secrets.randbelow(10**6)}"
    count = studio.pipe.generator.num_ws
    first, last = round(share[0] * count), round(share[1] * count) - 1
    return f"mix:{name}" if (first, last) == (0, count - 1) else f"mix:{name}_layers{first}-{last}"


def animate(studio: Studio, visit: Visit, who: str, name: str, farthest: float) -> tuple[str, str]:
    """A walk along one edit, there and back.

    Args:
        studio: The studio.
        visit: Whose page it is.
        who: Who is edited; the other edits stay.
        name: The edit.
        farthest: Strength at both ends.

    Returns:
        Address of the file, and its media type.
    """
    portrait = portrait_of(visit, who)
    lines = [line for line in visit.lines.get(who, []) if name_of(line) != name]
    frames = []
    for strength in np.linspace(-farthest, farthest, _FRAMES):
        edits = studio.check(visit, [*lines, f"{name}={strength:g}"])
        size = min(PREVIEW, studio.pipe.generator.resolution)
        frames.append(portrait.draft(edits, size))
    frames += frames[-2:0:-1]
    suffix, media_type = (".mp4", "video/mp4") if _has_video() else (".gif", "image/gif")
    with TemporaryDirectory() as temporary:
        path = Path(temporary) / f"walk{suffix}"
        save_animation(frames, path, frames_per_second=10, height=frames[0].height)
        content = path.read_bytes()
    label = f"{who}_{name}{suffix}".replace(" ", "_")
    return studio.pictures.put(visit.key, "animation", content, media_type, label), media_type


def publish(visit: Visit, who: str, repository: str, token: str, is_private: bool) -> str:
    """Push a personalisation to the Hub.

    Args:
        visit: Whose page it is.
        who: Whose personalisation.
        repository: `"me/ada"`, or `"ada"` for one's own.
        token: A token that may write; it is used for this and not kept.
        is_private: Whether nobody else may see the repository.

    Returns:
        Address of the commit.

    Raises:
        InputError: The name or the token is missing, or the repository is public and was to be private.
        SaveError: The Hub refuses or can't be reached.
    """
    person = portrait_of(visit, who).personalization
    if not repository.strip() or not token.strip():
        raise InputError("the name of the repository and a token with write access are needed")
    return person.push_to_hub(repository.strip(), private=is_private, token=token.strip())


def _has_video() -> bool:
    try:
        import_av()
    except MissingDependencyError:
        return False
    return True
