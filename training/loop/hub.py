# Copyright 2026 flmm_ros contributors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

"""Uploads what a run made to the Hugging Face hub; only where the recipe names a repository."""

from __future__ import annotations

from pathlib import Path

from flmm_ros.engine.errors import ConfigError
from training.loop.head_files import BEST, LAST

UPLOADED = (BEST, LAST, "model.yaml")


def require_login(repository: str) -> None:
    """Says before a run what an upload would lack at its end.

    Raises:
        ConfigError: not OWNER/NAME, or nobody is logged in.
    """
    from huggingface_hub import get_token

    owner, slash, name = repository.partition("/")
    if not (owner and slash and name) or "/" in name:
        raise ConfigError(f"push_to_hub: expected OWNER/NAME, got {repository!r}")
    if get_token() is None:
        raise ConfigError(
            f"push_to_hub: expected a login for {repository!r}, got none; run hf auth login or set "
            "HF_TOKEN, or leave it empty"
        )


def push(out: Path, repository: str, message: str) -> str:
    """Uploads heads and model file; where they are then. A new repository is private.

    Raises:
        ConfigError: the hub refused it or could not be reached; the files are still in `out`.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi()
    try:
        api.create_repo(repository, private=True, exist_ok=True)
        info = api.upload_folder(
            repo_id=repository,
            folder_path=out,
            allow_patterns=list(UPLOADED),
            commit_message=message,
        )
    except (HfHubHTTPError, OSError) as error:
        what = " ".join(str(error).split())
        raise ConfigError(
            f"push_to_hub: expected to upload to {repository!r}, got: {what}; the files are in "
            f"{out}, upload them with: hf upload {repository} {out} --include {' '.join(UPLOADED)}"
        ) from error
    return str(info.commit_url)
