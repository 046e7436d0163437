"""The ground floor: atomic files, reading, networks, the Hub, downloads, digests and cards."""

from pti_hub.storage.atomic import (
    as_save_error,
    check_replaceable,
    replaced_file,
    replaced_folder,
    write_json,
    write_tensors,
    write_text,
)
from pti_hub.storage.downloads import PublishedFile
from pti_hub.storage.fingerprints import fingerprint, picture_digest, tensor_digest
from pti_hub.storage.hub import (
    COMMIT,
    NETWORK_FOLDERS,
    PATTERNS,
    VARIANTS,
    DownloadOptions,
    commit_of,
    fetch_folder,
    fetch_repository,
    is_folder,
)
from pti_hub.storage.json_lines import append_row, read_rows, replace_rows
from pti_hub.storage.leftovers import PARTIAL, recover_folder, remove_leftovers
from pti_hub.storage.model_cards import personalization_card, pipeline_card
from pti_hub.storage.networks import Network, blueprint, load_network, unfilled
from pti_hub.storage.packages import INSTALL_COMMAND, find_file, install_packages, package_state, pinned_packages
from pti_hub.storage.publishing import FolderKind, PushOptions, push_folder, save_folder
from pti_hub.storage.reading import DAMAGE, as_weights_error, read_json, read_tensors, read_whole

__all__ = [
    "COMMIT",
    "DAMAGE",
    "INSTALL_COMMAND",
    "NETWORK_FOLDERS",
    "PARTIAL",
    "PATTERNS",
    "VARIANTS",
    "DownloadOptions",
    "FolderKind",
    "Network",
    "PublishedFile",
    "PushOptions",
    "append_row",
    "as_save_error",
    "as_weights_error",
    "blueprint",
    "check_replaceable",
    "commit_of",
    "fetch_folder",
    "fetch_repository",
    "find_file",
    "fingerprint",
    "install_packages",
    "is_folder",
    "load_network",
    "package_state",
    "personalization_card",
    "picture_digest",
    "pinned_packages",
    "pipeline_card",
    "push_folder",
    "read_json",
    "read_rows",
    "read_tensors",
    "read_whole",
    "recover_folder",
    "remove_leftovers",
    "replace_rows",
    "replaced_file",
    "replaced_folder",
    "save_folder",
    "tensor_digest",
    "unfilled",
    "write_json",
    "write_tensors",
    "write_text",
]
