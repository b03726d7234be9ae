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

"""Commands, parameters and whole answers: a value that holds, or a code that has a name."""

from importlib.util import find_spec

import pytest
from hypothesis import strategies as st
from malformed import inputs

if find_spec("rclpy") is None:
    pytest.skip("no rclpy here", allow_module_level=True)

import numpy as np
from sensor_msgs.msg import CompressedImage, Image
from test_images import PICTURES, damaged, raw_images

from flmm_ros.engine.answer import Answer, Grounding, Intent
from flmm_ros.engine.config import GrounderConfig
from flmm_ros.engine.errors import UnknownWordError
from flmm_ros.msg import GroundedAnswer
from flmm_ros.ros.commands.answer_message import refusal_to_msg
from flmm_ros.ros.commands.answering import answer_command
from flmm_ros.ros.commands.chats import Chats
from flmm_ros.ros.commands.command import INTENTS, Command, check_command
from flmm_ros.ros.commands.refusals import Refusal, refusal_of
from flmm_ros.ros.commands.worker import Job, Stop, Stopped
from flmm_ros.ros.images.newest_image import NewestImage
from flmm_ros.ros.interface.error_codes import CODE_NAMES
from flmm_ros.ros.interface.parameters import SETTINGS

TEXTS = st.one_of(
    st.text(max_size=30), st.sampled_from(["", " ", "\x00", "the mug " * 40, "pick up the mug"])
)
NAMES = st.one_of(st.text(max_size=6), st.sampled_from(["", "wrist", "ground", "answer", "GROUND"]))
COMMANDS = st.builds(
    Command, command_id=st.text(max_size=5), text=TEXTS, intent=NAMES, camera=NAMES, chat_id=NAMES
)


def has_a_name(refusal):
    return CODE_NAMES.get(refusal.code, "OK") != "OK" and len(refusal.text) > 10


@inputs("commands", COMMANDS, st.integers(1, 200))
def test_commands(command, max_chars):
    try:
        check_command(command, max_chars, ("", "wrist"))
    except Refusal as refusal:
        assert has_a_name(refusal)
        msg = refusal_to_msg(command, refusal, model="m", max_chars=max_chars)
        assert len(msg.command) <= max_chars and msg.error_code == refusal.code
        return
    assert command.text.strip() and len(command.text) <= max_chars
    assert command.camera in ("", "wrist") and command.intent in ("", *INTENTS)


ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=10),
    st.lists(st.floats(), max_size=2),
    st.binary(max_size=3),
    st.sampled_from(["auto", "queue", "raw", "", "cpu", "reliable", 0, 1, 0.5]),
)


@inputs("parameters", st.sampled_from(sorted(SETTINGS)), ODD)
def test_parameters(name, value):
    setting = SETTINGS[name]
    refusal = setting.refusal(value)
    if refusal is not None:
        assert refusal.startswith(f"{name}: expected ") and "got " in refusal
        return
    value = setting.converted(value)  # what the node uses: to YAML, on and off are truth values
    assert type(value) in (type(setting.default), int)
    assert not setting.choices or value in setting.choices
    if isinstance(value, float):
        assert value == value  # not NaN


class Painter:
    """An engine that finds the upper half of any picture, or fails as engines do."""

    model_name, backend, score_threshold = "painter", "none", 0.5

    def __init__(self, failure=None):
        self._failure = failure

    def open(self, image):
        self.image = image
        self._mask = np.zeros(image.shape[:2], bool)
        self._mask[: len(image) // 2 + 1] = True
        return self

    def chat(self):
        return self

    def say(self, command, intent=None, on_stage=None):
        if self._failure is not None:
            raise self._failure
        soft = self._mask.astype(np.float32)
        box = (0, 0, self._mask.shape[1], len(self._mask) // 2 + 1)
        found = Grounding(command, self._mask, soft, soft, 0.5, box)
        return Answer("here", (found,), Intent.GROUND, {"total": 1.0, "read": 0.5})

    def update(self, config: GrounderConfig):
        pass

    def close(self):
        pass


FAILURES = st.sampled_from(
    [
        None,
        None,
        None,
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        MemoryError(),
        KeyError("x"),
        UnicodeDecodeError("utf-8", b"x", 0, 1, "bad"),
        UnknownWordError("command: unknown words: quxbrax", ("quxbrax",)),
        Stopped(Stop.TIMEOUT),
    ]
)
RAW = raw_images().map(
    lambda m: Image(
        height=m.height % 2**32,
        width=m.width % 2**32,
        encoding=m.encoding,
        step=m.step % 2**32,
        is_bigendian=m.is_bigendian,
        data=m.data,
    )
)
COMPRESSED = damaged(PICTURES).map(lambda data: CompressedImage(format="jpeg", data=data))
IMAGES = st.one_of(st.none(), RAW, RAW, COMPRESSED)


@inputs("whole commands", COMMANDS, IMAGES, IMAGES, FAILURES, st.floats(0, 10))
def test_whole_commands(command, own_image, newest_image, failure, max_age_s):
    """As on the worker's thread: a message with pixels, or a refusal with a name."""
    newest = NewestImage()
    if newest_image is not None:
        newest.put(newest_image)
    command = Command("id", command.text, "", own_image, "", command.chat_id)
    try:
        reply = answer_command(
            Job(command),
            Painter(failure),
            newest,
            Chats(),
            now_ns=lambda: 5_000_000_000,
            max_age_s=max_age_s,
            max_chats=2,
        )
    except Exception as error:  # noqa: BLE001 - as the node's `_finish` does
        refusal = refusal_of(error)
        assert has_a_name(refusal)
        assert refusal.code != GroundedAnswer.INTERNAL or failure is not None
        return
    assert reply.msg.error_code == GroundedAnswer.OK and failure is None
    height, width = reply.rgb.shape[:2]
    assert (reply.msg.mask.height, reply.msg.mask.width) == (height, width)
    assert sum(reply.msg.objects[0].mask_runs) == height * width


def test_a_lack_of_memory_is_the_models_and_says_what_to_do():
    for error in (MemoryError(), RuntimeError("[enforce fail] can't allocate memory: 5 bytes")):
        refusal = refusal_of(error)
        assert refusal.code == GroundedAnswer.MODEL_ERROR
        assert refusal.text.startswith("out of memory: ") and "scene_cache" in refusal.text
    assert refusal_of(RuntimeError("mat1 and mat2")).code == GroundedAnswer.INTERNAL
