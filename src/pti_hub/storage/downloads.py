"""Published files: their address, size, checksum and licence, and their resumable download."""

from __future__ import annotations

import errno
import hashlib
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import constants
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.file_download import http_get
from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]

from pti_hub.errors import WeightsError, one_line
from pti_hub.logging import get_logger
from pti_hub.storage.atomic import as_save_error
from pti_hub.storage.fingerprints import file_digest
from pti_hub.storage.patience import limited_patience

logger = get_logger(__name__)

# The errors of huggingface-hub's HTTP library, which differs between its versions, and the system's.
_NETWORK_ERRORS: tuple[type[Exception], ...] = HfHubHTTPError.__bases__

_OWN = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO)
_NOT_SATISFIABLE = 416


@dataclass(frozen=True)
class PublishedFile:
    """A file on its authors' server.

    Attributes:
        url: Address of the file.
        sha256: Its checksum; `None` where none is known, and then the checksum of what came is logged.
        size: Its size in bytes; `None` where it is not known.
        licence: What its use is subject to, logged before the first download.
    """

    url: str
    sha256: str | None
    size: int | None
    licence: str

    @property
    def path(self) -> Path:
        """Where the file is kept: below huggingface-hub's home."""
        # Two servers may have different files of the same name.
        key = hashlib.sha256(self.url.encode()).hexdigest()[:8]
        return Path(constants.HF_HOME) / "pti-hub" / "downloads" / f"{key}-{self.url.rsplit('/', 1)[-1]}"

    def fetch(self, local_files_only: bool = False, force_download: bool = False) -> Path:
        """Download the file unless it is there; a download that was cut short is resumed.

        Args:
            local_files_only: Whether the network is left alone.
            force_download: Whether to download the file again.

        Returns:
            The file, whole and checked.

        Raises:
            WeightsError: It can't be had, or is not the file it should be.
            SaveError: The disk is full, or the place not writable.
        """
        if self.path.is_file() and not force_download:
            return self.path
        if local_files_only:
            raise WeightsError(f"{self.path} is not there, and only local files were asked for; fetch it once")
        size = f"{self.size / 1e6:.0f} MB" if self.size else "some hundred MB"
        logger.warning("fetching %s from %s; licence: %s", size, self.url, self.licence)
        partial = self.path.with_name(f"{self.path.name}.partial")
        with as_save_error(self.path):
            partial.parent.mkdir(parents=True, exist_ok=True)
            if force_download:
                partial.unlink(missing_ok=True)
            # Another process may be downloading it.
            with WeakFileLock(f"{partial}.lock"):
                if self.path.is_file() and not force_download:
                    return self.path
                self._complete(partial)
                self._check(partial)
                partial.replace(self.path)
        return self.path

    def _complete(self, partial: Path, again: bool = True) -> None:
        """Download what is missing."""
        try:
            with limited_patience(), partial.open("ab") as file:
                if self.size is not None and file.tell() > self.size:
                    file.truncate(0)
                name = self.url.rsplit("/", 1)[-1]
                http_get(self.url, file, resume_size=file.tell(), expected_size=self.size, displayed_filename=name)
        except _NETWORK_ERRORS as error:
            if isinstance(error, OSError) and error.errno in _OWN:
                raise
            # The file is whole already: there is nothing left to send.
            if again and getattr(getattr(error, "response", None), "status_code", None) == _NOT_SATISFIABLE:
                partial.unlink()
                self._complete(partial, again=False)
                return
            raise WeightsError(
                f"{self.url} could not be fetched ({one_line(error)}); try again, and the download is resumed"
            ) from error

    def _check(self, partial: Path) -> None:
        actual = file_digest(partial)
        if self.sha256 is not None and actual != self.sha256:
            partial.unlink()
            raise WeightsError(
                f"what {self.url} sent has SHA-256 {actual[:16]}…, expected {self.sha256[:16]}…; fetch it again, "
                "and if that does not help, don't use it"
            )
        if self.sha256 is None:
            logger.warning("no checksum is known for %s; this one has SHA-256 %s", self.url, actual)
