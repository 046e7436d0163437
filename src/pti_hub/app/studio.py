"""What the page does, without the page: open a photograph, personalise its faces, edit them, compare."""

from __future__ import annotations

import io
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from pti_hub.app.edit_lines import strength_of, with_drags, with_strength
from pti_hub.app.gpu import learner
from pti_hub.app.pictures import Pictures
from pti_hub.app.points import draw_points
from pti_hub.app.settings import Settings
from pti_hub.app.tuning import Learned, Report
from pti_hub.app.visits import Made, Visit, Visits
from pti_hub.edits import AnyEdit
from pti_hub.errors import FaceError, ImageError, InputError, PTIError
from pti_hub.faces import FaceAnalyzer, choose, draw_numbers
from pti_hub.images import STILL, Photograph, encode_image, read_photograph, to_tensor
from pti_hub.logging import get_logger
from pti_hub.personalization import Personalization
from pti_hub.pipelines import Portrait, PTIPipeline, put_back
from pti_hub.pipelines.scenes import SUBJECT

PREVIEW = 512
"""Height and width of the face while a slider moves, in pixels."""

_SHOWN_PIXELS = 4_000_000
"""Pictures are shown with so many pixels at most; the download has all."""

WHOLE = "the picture"
"""What the page calls the subject of a picture in which no face is looked for."""


class Compared(NamedTuple):
    """Addresses of what came of all edits.

    Attributes:
        before: The picture without edits.
        after: The picture with them.
        face: The edited face alone, at full size.
        file: The edited picture as a file to download.
    """

    before: str
    after: str
    face: str
    file: str


class Studio:
    """Does the work of all visits on one pipeline. Only one method may be at work at a time.

    Args:
        pipe: The pipeline; people whom it has loaded can be edited by every visitor.
        settings: What is allowed.

    Attributes:
        pictures: What is shown and offered.
        visits: All open pages.
        remarks: What visitors are to be told.
    """

    def __init__(self, pipe: PTIPipeline, settings: Settings) -> None:
        self.pipe, self.settings = pipe, settings
        self.pictures = Pictures()
        self.visits = Visits(settings, self.pictures)
        self._learn = learner(pipe)
        self.remarks = Remarks()

    @property
    def edits(self) -> list[str]:
        """Names of the edits that have a slider."""
        return list(self.pipe.edits)

    def open(self, visit: Visit, path: Path, name: str) -> None:
        """Open a photograph and find its faces; what was open before is forgotten if this succeeds.

        Args:
            visit: Whose photograph it is.
            path: The file.
            name: What the file is called.

        Raises:
            ImageError: It can't be read, or is too large.
            FaceError: There is no face in it.
            InputError: No face is looked for, and the picture is not square.
        """
        try:
            photograph = read_photograph(path)
        except ImageError as error:
            raise ImageError(str(error).replace(str(path), name)) from error
        width, height = photograph.picture.size
        if width * height > self.settings.megapixels * 1e6:
            limit = self.settings.megapixels
            raise ImageError(f"the photograph has {width}×{height} px; expected at most {limit} million pixels")
        faces = []
        if self.pipe.aligns_faces:
            faces = FaceAnalyzer().detect(photograph.picture)
            choose(faces, "all")
        else:
            to_tensor(photograph.picture, self.pipe.generator.resolution)
        visit.close_photograph()
        self.pictures.clear(visit.key)
        visit.photograph, visit.faces, visit.name = photograph, faces, Path(name).name

    def show(self, visit: Visit, place: str, picture: Image.Image) -> str:
        """Keep a picture for a place on the page.

        Returns:
            Address of the picture.
        """
        return self.pictures.put(visit.key, place, _jpeg(picture), "image/jpeg")

    def numbered(self, visit: Visit) -> str:
        """The open photograph with the numbers of its faces.

        Returns:
            Address of the picture.
        """
        photograph = _opened(visit)
        drawn = draw_numbers(photograph.picture, visit.faces)
        shown = _shown(drawn, 1_500_000)
        visit.scale = drawn.width / shown.width
        return self.show(visit, "numbered", shown)

    def learn(self, visit: Visit, numbers: Sequence[int]) -> Iterator[Report | str]:
        """Personalise faces of the open photograph, one after the other.

        Args:
            visit: Whose photograph is open.
            numbers: Numbers of the faces; not used where no face is looked for.

        Yields:
            Reports, and at the end what the page calls each face that is done. It ends early if `visit.stop` is set.

        Raises:
            InputError: No face was chosen.
        """
        photograph = _opened(visit)
        if visit.faces and not numbers:
            raise FaceError("no face is chosen; choose at least one")
        visit.stop.clear()
        items, learned = self._learn(photograph, sorted(numbers) if visit.faces else None), []
        try:
            for item in items:
                visit.used = time.monotonic()
                if isinstance(item, Learned):
                    learned.append(item)
                if visit.stop.is_set():
                    break
                if isinstance(item, Report):
                    yield item
        finally:
            items.close()  # type: ignore[attr-defined]
        # Only now: while faces are learned, nobody else may use the generator.
        for item in learned:
            if not visit.is_gone:
                yield self._keep(visit, item)

    def _keep(self, visit: Visit, learned: Learned) -> str:
        """Make a face that was learned known; what the first edit would have to wait for is done now."""
        portrait = Portrait(self.pipe, learned.personalization, SUBJECT)
        _ = portrait.occluded
        who = f"Face {learned.face}" if visit.faces else WHOLE
        if who in visit.portraits and not visit.is_home(who):
            who = visit.free_name(who)
        visit.meet(who, portrait)
        visit.learned.add(who)
        return who

    def slide(self, visit: Visit, who: str, name: str, strength: float) -> list[str]:
        """Take over where a slider of a face stands.

        Returns:
            The edits of the face, in order.

        Raises:
            InputError: Nobody of that name is there.
        """
        portrait_of(visit, who)
        lines = visit.lines.get(who, [])
        if strength != strength_of(lines, name):
            lines = with_strength(lines, name, strength)
        visit.lines[who] = lines
        return lines

    def check(self, visit: Visit, lines: Sequence[str]) -> list[AnyEdit]:
        """Look edits up.

        Raises:
            InputError: One is unknown or malformed.
        """
        pivots = {who: portrait.pivot[0].cpu() for who, portrait in visit.portraits.items()}
        # By the names that the page calls people, whatever their personalisations call them.
        return self.pipe.parse(
            with_drags(lines, visit.drags), [Personalization({}, pivots, self.pipe.base)] if pivots else []
        )

    def preview(self, visit: Visit, who: str) -> str:
        """The edited face, small and quick.

        Returns:
            Address of the picture.
        """
        portrait = portrait_of(visit, who)
        size = min(PREVIEW, self.pipe.generator.resolution)
        return self.show_face(visit, who, portrait.draft(self._draft_edits(visit, who), size))

    def show_face(self, visit: Visit, who: str, picture: Image.Image | None = None) -> str:
        """Show the face, and on it the points that are to be dragged.

        Args:
            visit: Whose page it is.
            who: Whose face it is.
            picture: The face; what is shown now by default, for which nothing is computed.

        Returns:
            Address of the picture.

        Raises:
            InputError: Nobody of that name is there, or no face is shown.
        """
        portrait_of(visit, who)
        visit.shown = picture or visit.shown
        if visit.shown is None:
            raise InputError("no face is shown yet; wait until it is")
        points = visit.points.get(who, [])
        return self.show(visit, "face", draw_points(visit.shown, points, self.pipe.generator.resolution))

    def compare(self, visit: Visit, who: str) -> Compared:
        """The photograph before and after all edits of all its faces; of people without a photograph, the face.

        Returns:
            Addresses of the pictures.
        """
        portrait_of(visit, who)
        before = self._before(visit, who)
        if visit.is_home(who):
            photograph = _opened(visit)
            edited = {one: self._edited(visit, one) for one in visit.at_home_with(who)}
            faces = [(visit.portraits[one], picture) for one, picture in edited.items()]
            after, face = put_back(photograph, faces), edited[who]
            stem, suffix = Path(visit.name).stem, Path(visit.name).suffix.lower()
            name = f"{stem}_edited{suffix if suffix in STILL else '.png'}"
        else:
            face = after = self._edited(visit, who)
            name = f"{who}_edited.png"
        put = self.pictures.put
        return Compared(
            before,
            put(visit.key, "after", _jpeg(_shown(after)), "image/jpeg"),
            self.show_face(visit, who, face),
            put(visit.key, "file", lambda: encode_image(after, Path(name).suffix), "application/octet-stream", name),
        )

    def _before(self, visit: Visit, who: str) -> str:
        """Address of the picture without edits, which stays the same."""
        if who not in visit.before:
            if visit.is_home(who):
                photograph = _opened(visit)
                picture = photograph.with_edit(photograph.picture)
            else:
                picture = visit.portraits[who].reconstruction
            content = _jpeg(_shown(picture))
            visit.before[who] = self.pictures.put(visit.key, f"before {who}", content, "image/jpeg")
        return visit.before[who]

    def _edited(self, visit: Visit, who: str) -> Image.Image:
        """The edited face at full size, whose edits are measured one after the other, as in every call."""
        lines, made = list(visit.lines[who]), visit.made.get(who)
        if made is None or made.lines != lines:
            try:
                picture, applied = visit.portraits[who].edited(self.check(visit, lines))
            except PTIError as error:
                raise InputError(f"{who}: {error}") from error
            made = visit.made[who] = Made(lines, applied, picture)
        return made.picture

    def _draft_edits(self, visit: Visit, who: str) -> list[AnyEdit]:
        """The edits of a face, of which only those that have changed are measured anew.

        An edit is measured on what the edits before it leave. While a slider moves, the others keep the strengths that
        were found for them: measuring all that follow would take a second for each.
        """
        made = visit.made.get(who)
        found = {} if made is None else dict(zip(made.lines, made.edits, strict=True))
        parsed = self.check(visit, visit.lines[who])
        return [found.get(line, edit) for line, edit in zip(visit.lines[who], parsed, strict=True)]


def portrait_of(visit: Visit, who: str | None) -> Portrait:
    """Who is edited.

    Raises:
        InputError: Nobody of that name is there.
    """
    if who is None or who not in visit.portraits:
        raise InputError("nobody is personalised yet; open a photograph and personalise a face, or load somebody")
    return visit.portraits[who]


class Remarks(logging.Filter):
    """Keeps what the package warns of, such as a smile that goes no further, for the page of this thread's visitor."""

    def __init__(self) -> None:
        super().__init__()
        self._thread = threading.local()
        for handler in get_logger("pti_hub").handlers:
            handler.addFilter(self)

    def close(self) -> None:
        """Leave the log alone again."""
        for handler in get_logger("pti_hub").handlers:
            handler.removeFilter(self)

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is for the log."""
        heard: list[str] | None = getattr(self._thread, "heard", None)
        if heard is None or record.levelno != logging.WARNING:
            return True
        if (text := str(getattr(record, "plain", record.getMessage()))) not in heard:
            heard.append(text)
        return False

    @contextmanager
    def heard(self) -> Iterator[list[str]]:
        """What is warned of in this thread meanwhile, and was before if somebody listens already."""
        before: list[str] | None = getattr(self._thread, "heard", None)
        self._thread.heard = heard = [] if before is None else before
        try:
            yield heard
        finally:
            self._thread.heard = before


def _opened(visit: Visit) -> Photograph:
    if visit.photograph is None:
        raise InputError("no photograph is open; open one first")
    return visit.photograph


def _shown(picture: Image.Image, pixels: int = _SHOWN_PIXELS) -> Image.Image:
    """The picture, with so many pixels at most."""
    factor = (picture.width * picture.height / pixels) ** 0.5
    if factor <= 1:
        return picture
    size = (max(1, round(picture.width / factor)), max(1, round(picture.height / factor)))
    return picture.resize(size, Image.Resampling.BOX, reducing_gap=2.0)


def _jpeg(picture: Image.Image) -> bytes:
    content = io.BytesIO()
    profile = None if picture.info.get("grey") else picture.info.get("icc_profile")
    picture.save(content, "JPEG", quality=92, subsampling=0, **({"icc_profile": profile} if profile else {}))
    return content.getvalue()
