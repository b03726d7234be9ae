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

"""The console in a real browser, with the real node and its embedded model behind it."""

import base64
import io
import itertools
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import which
from typing import Any

import numpy as np
import pytest
from harness import ROOT, START_S, wait_until
from PIL import Image as PillowImage
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from flmm_ros.console.command_service import MAX_COMMAND_CHARS
from flmm_ros.engine.masks.overlay import PALETTE
from flmm_ros.msg import GroundedAnswer
from flmm_ros.ros.messages.conversions import image_to_msg, mask_from_runs
from flmm_sim.nodes.camera_node import depth_to_msg, info_to_msg

pytest.importorskip("aiohttp", reason="the console's server; pip install aiohttp")
sync_api = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
BROWSER = which("chromium") or which("chromium-browser") or which("google-chrome")
if BROWSER is None:
    pytest.skip("no browser here; apt-get install chromium", allow_module_level=True)

SEED = 2_000_028
TOKEN = "the token of this test"
PATIENCE_MS = 40_000  # generous: the machine may be busy
WEBGL_ON_CPU = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
QUICKLY = "quickly: "  # the node of these tests is slow, so that there is time to cancel


class ConsoleProcess:
    """One console as a process, in the namespace of a node."""

    def __init__(self, namespace: str, log: Path, *arguments: str, **environment: str) -> None:
        self.log, self._file = log, log.open("w")
        self.process = subprocess.Popen(
            [
                sys.executable,
                ROOT / "bin" / "console",
                "--port",
                "0",
                *arguments,
                "--ros-args",
                "-r",
                f"__ns:=/{namespace}",
            ],
            cwd=ROOT,
            env={
                **os.environ,
                "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}",
                **environment,
            },
            stdout=self._file,
            stderr=subprocess.STDOUT,
        )
        pattern = re.compile(r"console: (https?://\S+)")
        found = wait_until(lambda: pattern.search(log.read_text()), START_S, "the address")
        self.url = found[1]

    def close(self) -> None:
        """Ends it as Ctrl-C would; a clean end is a part of every test."""
        self.process.send_signal(signal.SIGINT)
        try:
            code = self.process.wait(20)
        finally:
            if self.process.poll() is None:
                self.process.kill()
            self._file.close()
        assert code == 0, self.log.read_text()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=BROWSER, args=["--no-sandbox", *WEBGL_ON_CPU]
        )
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def scene(table):
    return table.render(SEED)


@pytest.fixture(scope="module")
def robot(start, scene):
    _, robot = start(script="slow_node.py", autostart=True)
    robot.wait_for_state("active")
    robot.show(scene.rgb)
    yield robot


@pytest.fixture(scope="module")
def console(robot, tmp_path_factory) -> Iterator[ConsoleProcess]:
    namespace = robot.node.get_namespace().strip("/")
    made = ConsoleProcess(namespace, tmp_path_factory.mktemp("console") / "log.txt")
    yield made
    made.close()


@pytest.fixture
def complaints() -> list[str]:
    """Errors that the page wrote to its log. A test fails with any that it has not cleared."""
    return []


@pytest.fixture
def visit(browser, console, robot, scene, complaints) -> Iterator[Callable[..., Any]]:
    """Opens the page as somebody new, who sees the live picture."""
    contexts: list[Any] = []

    def open_page(width: int = 1300, height: int = 800) -> Any:
        contexts.append(browser.new_context(viewport={"width": width, "height": height}))
        page = contexts[-1].new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
        page.goto(console.url)
        sync_api.expect(page.locator("#health span")).to_have_text("active", timeout=PATIENCE_MS)
        show_until(lambda: not page.locator("#stage.empty").count(), robot, scene)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def show_until(is_seen: Callable[[], bool], robot: Any, scene: Any) -> None:
    """Shows the scene again and again: the console subscribes when a page is open."""
    end_s = time.monotonic() + PATIENCE_MS / 1000
    while not is_seen():
        assert time.monotonic() < end_s, "the page shows no live picture"
        robot.show(scene.rgb)


def ask(page: Any, command: str) -> Any:
    """Types a command; returns its turn of the conversation."""
    page.fill("#command", command)
    page.press("#command", "Enter")
    turn = page.locator(".turn").last
    sync_api.expect(turn.locator(".asked")).to_have_text(command, timeout=PATIENCE_MS)
    return turn


def answered(turn: Any) -> Any:
    """Waits for the end of a turn's work."""
    sync_api.expect(turn.locator(".answered:not(.busy)")).to_be_visible(timeout=PATIENCE_MS)
    return turn


def rgba_of(page: Any, canvas: str) -> np.ndarray:
    """The pixels of a canvas, RGBA uint8 [H, W, 4]."""
    url = page.locator(canvas).evaluate("canvas => canvas.toDataURL('image/png')")
    return np.array(PillowImage.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))))


def looks_like(page: Any, canvas: str, rgb: np.ndarray) -> bool:
    """Whether a canvas shows this picture, but for JPEG's noise."""
    shown = rgba_of(page, canvas)[..., :3].astype(int)
    return shown.shape == rgb.shape and np.abs(shown - rgb).mean() < 3


def last_answer(robot: Any, command: str) -> GroundedAnswer:
    """The node's own message about a command."""
    return wait_until(
        lambda: next((m for m in reversed(robot.seen.grounding) if m.command == command), None),
        START_S,
        f"the answer to {command!r}",
    )


def test_a_command_is_typed_and_the_mask_is_seen(visit, robot, scene):
    page = visit()
    turn = answered(ask(page, f"{QUICKLY}pick up the red mug"))
    sync_api.expect(turn.locator("mark")).to_have_text("the red mug")
    msg = last_answer(robot, f"{QUICKLY}pick up the red mug")
    mask = mask_from_runs(msg.objects[0].mask_runs, scene.labels.shape)

    painted = rgba_of(page, "#masks")
    np.testing.assert_array_equal(painted[..., 3] > 0, mask)
    red, green, blue = PALETTE[0]
    assert (
        np.abs(painted[painted[..., 3] == 255][:, :3].astype(int) - (red, green, blue)).max() <= 1
    )
    thing = next(i for i, o in enumerate(scene.objects) if o.name == "red mug")
    true = scene.mask(scene.objects[thing])
    assert (mask & true).sum() / (mask | true).sum() > 0.7, "the mug itself, not only what was sent"

    style = turn.locator("mark").evaluate("mark => getComputedStyle(mark).backgroundColor")
    assert style == f"rgb({red}, {green}, {blue})"
    score = f"{msg.objects[0].score:.2f}"
    sync_api.expect(turn.locator(".chip b")).to_have_text(score)
    sync_api.expect(page.locator("#labels span")).to_have_text(f"the red mug {score}")
    sync_api.expect(turn.locator(".times summary")).to_contain_text(f"{msg.total_ms:.0f} ms")
    turn.locator(".times summary").click()
    for name, ms in zip(msg.stages, msg.stage_ms, strict=True):
        sync_api.expect(turn.locator(".times-legend")).to_contain_text(f"{name} {ms:.0f} ms")


def test_the_picture_of_an_answer_is_the_image_it_is_about(visit, robot, scene, table):
    page = visit()
    answered(ask(page, f"{QUICKLY}point at the red mug"))
    other = table.render(SEED + 3)
    show_until(lambda: looks_like(page, "#mini-picture", other.rgb), robot, other)
    assert looks_like(page, "#picture", scene.rgb)
    page.click("#to-live")
    show_until(lambda: looks_like(page, "#picture", other.rgb), robot, other)
    page.locator(".thumb:not(#mini)").click()
    sync_api.expect(page.locator("#badge")).to_have_text("Answer")
    wait_until(lambda: looks_like(page, "#picture", scene.rgb), START_S, "the answer's picture")
    robot.show(scene.rgb)


def test_hovering_shows_the_heat_map(visit, scene):
    page = visit()
    turn = answered(ask(page, f"{QUICKLY}what can I drink from?"))
    heat = page.locator("#heat")
    sync_api.expect(heat).to_be_hidden()
    turn.locator("mark").first.hover()
    sync_api.expect(heat).to_be_visible(timeout=PATIENCE_MS)  # it comes after the answer
    assert page.locator(".chip.hovered").count() == 1
    size = heat.evaluate(
        "async i => { await i.decode(); return [i.naturalWidth, i.naturalHeight] }"
    )
    assert size == [320, 240]
    page.mouse.move(5, 5)
    sync_api.expect(heat).to_be_hidden()
    at = page.locator("#stage").bounding_box()
    rows, columns = np.nonzero(rgba_of(page, "#masks")[..., 3])
    page.mouse.move(
        at["x"] + at["width"] * np.median(columns) / 320,
        at["y"] + at["height"] * np.median(rows) / 240,
    )
    sync_api.expect(turn.locator("mark").first).to_have_class("hovered")
    sync_api.expect(heat).to_be_visible()


class DepthCamera:
    """Shows the scene with its depth on and on, and hears the target's points."""

    def __init__(self, robot: Any, scene: Any) -> None:
        self.clouds: list[PointCloud2] = []
        self._robot, self._scene, node = robot, scene, robot.node
        self._depth = node.create_publisher(Image, "depth", 5)
        self._info = node.create_publisher(CameraInfo, "camera_info", 5)
        self._heard = node.create_subscription(
            PointCloud2, "grounding_node/target/points", self.clouds.append, 10
        )
        wait_until(self._depth.get_subscription_count, START_S, "the node's depth subscription")
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._loop, daemon=True)
        self._thread.start()

    def _loop(self) -> None:
        while not self._is_over.wait(0.2):
            header = self._robot.header()
            self._info.publish(info_to_msg(self._scene.K, self._scene.labels.shape, header))
            self._depth.publish(depth_to_msg(self._scene.depth_m, header))
            self._robot.camera.publish(image_to_msg(self._scene.rgb, header))

    def cloud_of(self, answer: GroundedAnswer) -> PointCloud2 | None:
        same = (c for c in self.clouds if c.header.stamp == answer.header.stamp)
        return next(same, None)

    def close(self) -> None:
        self._is_over.set()
        self._thread.join()
        for publisher in (self._depth, self._info):
            self._robot.node.destroy_publisher(publisher)


def test_the_target_is_seen_in_space_and_turned_by_dragging(visit, robot, scene):
    page = visit()
    camera = DepthCamera(robot, scene)
    try:
        wait_until(
            lambda: robot.ask(f"{QUICKLY}the red mug").target_code == GroundedAnswer.OK,
            START_S,
            "depth",
        )
        turn = answered(ask(page, f"{QUICKLY}pick up the red mug"))
        msg = last_answer(robot, f"{QUICKLY}pick up the red mug")
        cloud = wait_until(lambda: camera.cloud_of(msg), START_S, "the target's points")
        page.click("#show-points")  # appears with the points
        sync_api.expect(page.locator("#points")).to_have_attribute(
            "data-count", str(cloud.width * cloud.height), timeout=PATIENCE_MS
        )
    finally:
        camera.close()
    assert cloud.width > 300
    center = msg.objects[0].box_pose.position
    sync_api.expect(turn.locator(".chip small")).to_contain_text(
        f"at {center.x:.3f}, {center.y:.3f}, {center.z:.3f} m"
    )
    seen = rgba_of(page, "#points")[..., :3].astype(int)
    rows, columns = np.nonzero(is_red(seen))
    height, width = seen.shape[:2]
    assert len(rows) > 0.002 * height * width, "the mug's points, in the camera's colours"
    assert (
        abs(np.median(columns) / width - 0.5) < 0.15 and abs(np.median(rows) / height - 0.5) < 0.15
    )
    assert (np.abs(seen - PALETTE[0]).max(axis=-1) < 12).sum() > 100, "its box, in its colour"

    at = page.locator("#points").bounding_box()
    middle = (at["x"] + at["width"] / 2, at["y"] + at["height"] / 2)
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] - 90, middle[1], steps=4)
    page.mouse.up()
    turned = rgba_of(page, "#points")[..., :3].astype(int)
    assert is_red(turned).sum() > 0.3 * len(rows), "still in the middle of the view"
    assert (np.abs(turned - seen).max(axis=-1) > 40).mean() > 0.01, "but from elsewhere"
    page.mouse.wheel(0, -400)
    nearer = rgba_of(page, "#points")[..., :3].astype(int)
    assert is_red(nearer).sum() > 1.5 * is_red(turned).sum()


def is_red(rgb: np.ndarray) -> np.ndarray:
    """The mug's pixels: red outweighs the others by far."""
    return (rgb[..., 0] > 100) & (rgb[..., 1:].max(axis=-1) < 0.35 * rgb[..., 0])


def test_the_examples_on_the_page_are_sentences_the_model_knows(engine, scene):
    script = (ROOT / "flmm_ros" / "console" / "web" / "page" / "app.js").read_text()
    (line,) = re.findall(r"^const EXAMPLES = \[(.*)\];$", script, re.MULTILINE)
    examples = re.findall(r'"([^"]+)"', line)
    assert len(examples) == 3
    for text in examples:
        assert engine.open(scene.rgb).ask(text).objects, text


def test_labels_of_neighbours_do_not_cover_each_other(visit):
    page = visit(390, 844)
    answered(ask(page, f"{QUICKLY}what do you see?"))
    labels = page.locator("#labels span")
    sync_api.expect(labels).to_have_count(6)
    boxes = [labels.nth(index).bounding_box() for index in range(6)]
    for one, other in itertools.combinations(boxes, 2):
        is_apart_x = min(one["x"] + one["width"], other["x"] + other["width"]) <= max(
            one["x"], other["x"]
        )
        is_apart_y = min(one["y"] + one["height"], other["y"] + other["height"]) <= max(
            one["y"], other["y"]
        )
        assert is_apart_x or is_apart_y, (one, other)


def test_a_command_is_cancelled(visit, robot):
    page = visit()
    turn = ask(page, "what can I drink from?")
    turn.locator(".cancel").click(force=True)  # also while the page still moves
    start_s = time.monotonic()
    sync_api.expect(answered(turn).locator("code")).to_have_text("CANCELED")
    assert time.monotonic() - start_s < 5
    assert last_answer(robot, "what can I drink from?").error_code == GroundedAnswer.CANCELED
    turn = answered(ask(page, f"{QUICKLY}point at the red mug"))
    sync_api.expect(turn.locator("mark")).to_have_text("the red mug")


def test_two_people_at_once_get_their_own_answers(visit, robot):
    one, other = visit(), visit(390, 844)
    first = ask(one, f"{QUICKLY}point at the red mug")
    second = ask(other, f"{QUICKLY}point at the blue duck")
    sync_api.expect(answered(first).locator("mark")).to_have_text("the red mug")
    sync_api.expect(answered(second).locator("mark")).to_have_text("the blue duck")
    assert one.locator(".turn").count() == other.locator(".turn").count() == 1
    for page, command in ((one, "the red mug"), (other, "the blue duck")):
        msg = last_answer(robot, f"{QUICKLY}point at {command}")
        mask = mask_from_runs(msg.objects[0].mask_runs, (240, 320))
        np.testing.assert_array_equal(rgba_of(page, "#masks")[..., 3] > 0, mask)
    wide = other.evaluate("document.documentElement.scrollWidth")
    assert wide <= 390, "a telephone must not scroll sideways"


def test_a_reload_finds_the_history(visit):
    page = visit()
    answered(ask(page, f"{QUICKLY}point at the red mug"))
    page.reload()
    sync_api.expect(page.locator(".turn mark")).to_have_text("the red mug")
    sync_api.expect(page.locator(".thumb:not(#mini)")).to_have_count(1)
    page.click("#forget")
    sync_api.expect(page.locator(".turn")).to_have_count(0)


@pytest.mark.parametrize(
    "attack",
    [
        "<img src=x onerror=document.title='broken'>",
        "<script>document.title='broken'</script> the mug",
        "\"><svg onload=document.title='broken'>",
    ],
)
def test_what_is_typed_is_only_ever_text(visit, attack):
    page = visit()
    turn = answered(ask(page, attack))
    sync_api.expect(turn.locator(".asked")).to_have_text(attack)
    assert page.locator("#log img, #log script, #log svg").count() == 0
    assert page.title() == "Console"


def test_even_a_script_that_got_in_would_not_run(visit, complaints):
    """The content policy, in the browser: an inline handler and markup from a string."""
    page = visit()
    ran = page.evaluate(
        """() => {
          try { document.body.innerHTML += "<b>x</b>"; return "markup"; } catch { }
          const image = document.createElement("img");
          try { image.setAttribute("onerror", "document.title = 'broken'"); } catch { }
          image.src = "data:,";
          document.body.append(image);
          return "";
        }"""
    )
    page.wait_for_timeout(300)
    assert ran == "" and page.title() == "Console"
    assert any("TrustedHTML" in text for text in complaints)
    assert any("Content Security Policy" in text for text in complaints)
    complaints.clear()


def test_too_long_is_refused_in_words(visit):
    page = visit()
    page.fill("#command", "x" * (MAX_COMMAND_CHARS + 1))
    page.press("#command", "Enter")
    sync_api.expect(page.locator("#notice")).to_contain_text(f"at most {MAX_COMMAND_CHARS}")
    assert page.locator(".turn").count() == 0


def test_a_token_is_wanted_where_one_is_set(robot, browser, tmp_path):
    namespace = robot.node.get_namespace().strip("/")
    console = ConsoleProcess(namespace, tmp_path / "log.txt", FLMM_CONSOLE_TOKEN=TOKEN)
    try:
        page = browser.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.goto(console.url.partition("#")[0])
        page.fill("#token", "not the token of this test")
        page.click("#enter")
        sync_api.expect(page.locator("#notice")).to_contain_text("Not the token")
        assert page.locator("#composer").count() == 0
        page.fill("#token", TOKEN)
        page.click("#enter")
        sync_api.expect(page.locator("#composer")).to_be_visible()
        linked = browser.new_context().new_page()
        linked.goto(console.url)
        sync_api.expect(linked.locator("#composer")).to_be_visible(timeout=PATIENCE_MS)
        assert "token" not in linked.url
    finally:
        console.close()
