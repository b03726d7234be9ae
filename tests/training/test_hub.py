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

"""Uploads: refused early without a login; done by the hub's real client, to a local server."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest

from flmm_ros.engine.errors import ConfigError
from training.loop.hub import push, require_login


class _Hub(BaseHTTPRequestHandler):
    """The calls of an upload of small files, as the hub documents them."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.calls.append((self.path, body))  # type: ignore[attr-defined]
        if self.server.is_full:  # type: ignore[attr-defined]
            self._answer(403, {"error": "no storage left"})
        elif self.path.endswith("/create"):
            self._answer(200, {"url": f"{self._url}/me/heads", "id": "me/heads"})
        elif "/preupload/" in self.path:
            files = json.loads(body)["files"]
            modes = [
                {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files
            ]
            self._answer(200, {"files": modes})
        else:
            where = f"{self._url}/me/heads/commit/1"
            self._answer(200, {"commitUrl": where, "commitOid": "1"})

    def do_GET(self) -> None:
        self._answer(200, {"id": "me/heads", "sha": "0", "siblings": []})

    @property
    def _url(self) -> str:
        return f"http://{self.headers['Host']}"

    def _answer(self, status: int, content: dict[str, Any]) -> None:
        text = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    server.calls, server.is_full = [], False  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    endpoint = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    yield server
    server.shutdown()
    server.server_close()


def _run_folder(tmp_path: Path) -> Path:
    for name in ("heads_best.safetensors", "heads_last.safetensors", "model.yaml", "log.jsonl"):
        (tmp_path / name).write_text(f"content of {name}")
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "model.yaml").write_text("not this one")
    return tmp_path


def test_heads_and_model_file_are_uploaded_to_a_private_repository(
    hub: Any, tmp_path: Path
) -> None:
    where = push(_run_folder(tmp_path), "me/heads", "9 steps")
    assert where.endswith("/me/heads/commit/1")
    (create,) = (body for path, body in hub.calls if path.endswith("/create"))
    made = json.loads(create)  # the second is how earlier clients say it
    assert made.get("visibility") == "private" or made.get("private") is True
    (commit,) = (body for path, body in hub.calls if "/commit/" in path)
    lines = [json.loads(line) for line in commit.splitlines()]
    sent = {
        line["value"]["path"]: base64.b64decode(line["value"]["content"]).decode()
        for line in lines
        if line["key"] == "file"
    }
    names = ("heads_best.safetensors", "heads_last.safetensors", "model.yaml")
    assert sent == {name: f"content of {name}" for name in names}
    assert lines[0]["value"]["summary"] == "9 steps"


def test_an_upload_that_fails_says_where_the_files_are(hub: Any, tmp_path: Path) -> None:
    hub.is_full = True
    with pytest.raises(ConfigError, match=r"push_to_hub: .*hf upload me/heads") as caught:
        push(_run_folder(tmp_path), "me/heads", "9 steps")
    assert str(tmp_path) in str(caught.value)


def test_a_login_is_asked_for_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.delenv("HUGGING_FACE_HUB_TOKEN", raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="expected a login for 'me/heads'"):
        require_login("me/heads")
    for wrong in ("heads", "me/", "a/b/c"):
        with pytest.raises(ConfigError, match="expected OWNER/NAME"):
            require_login(wrong)
