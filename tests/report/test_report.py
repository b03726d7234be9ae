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

"""The page: complete, self-contained, and safe whatever the texts hold."""

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from examples.demo.page import (
    ShownCommand,
    ShownObject,
    mark_spans,
    render_page,
    summarise,
    write_report,
)
from flmm_ros.engine.answer import Grounding
from flmm_ros.engine.errors import ImageError
from flmm_ros.engine.masks.overlay import color_of, draw_heat
from flmm_ros.report.pictures import overlay_picture

HOSTILE = "<script>alert(\"x\")</script> & 'quotes' </style>"
SIZE = (24, 32)
VOID = {"meta", "img", "br", "link"}


def grounding(phrase: str, span: tuple[int, int] | None = None, present: bool = True) -> Grounding:
    mask = np.zeros(SIZE, bool)
    mask[5:15, 8:20] = present
    heat = np.linspace(0, 1, mask.size, dtype=np.float32).reshape(SIZE)
    box = (8, 5, 20, 15) if present else (0, 0, 0, 0)
    return Grounding(phrase, mask, mask.astype(np.float32), heat, 0.75, box, present, span)


def command(answer: str = "here is the red mug.", **changes: object) -> ShownCommand:
    fields: dict[str, object] = {
        "title": "point at an object",
        "command": "pick up the red mug",
        "scene": "Scene 7: red mug",
        "channel": "action",
        "intent": "ground",
        "answer": answer,
        "objects": (ShownObject(grounding("the red mug", (8, 19)), 0.5, True),),
        "image": np.full((*SIZE, 3), 120, np.uint8),
        "stages_ms": (("encode", 10.0), ("read", 30.0)),
        "total_ms": 50.0,
        "error_code": "OK",
        "error_text": "",
        "problem": "",
    }
    return ShownCommand(**{**fields, **changes})  # type: ignore[arg-type]


REFUSED = command(
    "",
    objects=(),
    stages_ms=(),
    error_code="UNKNOWN_WORD",
    error_text="expected known words, got 'zebra'",
)


class Tags(HTMLParser):
    """Checks that tags nest, and keeps names, attributes and text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_nothing_hostile_gets_through() -> None:
    hostile = command(
        HOSTILE,
        title=HOSTILE,
        command=HOSTILE,
        scene=HOSTILE,
        channel=HOSTILE,
        intent=HOSTILE,
        problem=HOSTILE,
        objects=(ShownObject(grounding(HOSTILE, (0, 8)), 0.5, True),),
        stages_ms=((HOSTILE, 1.0),),
    )
    refused = command("", error_code=HOSTILE, error_text=HOSTILE)
    page = render_page([hostile, refused], [(HOSTILE, HOSTILE)])
    tags = Tags(page)
    assert "script" not in {tag for tag, _ in tags.seen}
    assert "<script" not in page and page.count("</style>") == 1
    assert tags.text.count("alert") >= 12  # shown as text, everywhere
    assert {name for _, attributes in tags.seen for name in attributes} <= {
        "lang", "charset", "name", "content", "class", "style", "src", "alt",
    }  # fmt: skip


def test_phrases_have_the_colour_of_their_mask() -> None:
    text = "a <b> and a red mug."
    marked = mark_spans(text, [grounding("a <b>", (0, 5)), grounding("a red mug", (10, 19))])
    first, second = ("rgb({},{},{})".format(*color_of(i)) for i in range(2))
    assert re.sub(r";color:#\w+", "", marked) == (
        f'<mark style="background:{first}">a &lt;b&gt;</mark> and '
        f'<mark style="background:{second}">a red mug</mark>.'
    )


@pytest.mark.parametrize("span", [None, (5, 5), (5, 3), (0, 99), (30, 40)])
def test_a_span_outside_the_text_is_left_unmarked(span: tuple[int, int] | None) -> None:
    assert mark_spans("the red mug", [grounding("the red mug", span)]) == "the red mug"


def test_overlapping_and_absent_phrases_are_left_unmarked() -> None:
    objects = [
        grounding("the red", (0, 7)),
        grounding("red mug", (4, 11)),
        grounding("the", (0, 3), present=False),
    ]
    marked = mark_spans("the red mug", objects)
    assert marked.count("<mark") == 1
    assert re.sub(r"<[^>]+>", "", marked) == "the red mug"


def test_the_page_stands_alone() -> None:
    page = render_page([command(), REFUSED], [("model", "tabletop")])
    assert not re.search(r"https?://|url\(|@import|<link|<script", page)
    sources = [a["src"] or "" for tag, a in Tags(page).seen if tag == "img"]
    assert len(sources) == 3  # camera, masks, attention
    for source in sources:
        head, data = source.split(",", 1)
        assert head == "data:image/jpeg;base64"
        with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
            assert picture.width >= SIZE[1]


def test_everything_is_said() -> None:
    wrong = command(problem="expected blue ball")
    text = Tags(render_page([command(), REFUSED, wrong], [("torch", "2.13")])).text
    for words in (
        "2 / 3", "0.50", "pick up the red mug", "here is the red mug.", "score 0.75", "IoU 0.50",
        "encode 10.0 ms", "total 50.0 ms", "UNKNOWN_WORD", "got 'zebra'", "refused as it should",
        "expected blue ball", "torch", "2.13", "Scene 7: red mug",
    ):  # fmt: skip
        assert words in text, words


def test_summary() -> None:
    absent = ShownObject(grounding("the duck", present=False), 0.0, True)
    unknown = ShownObject(grounding("the thing"), None, True)
    two = command(objects=(ShownObject(grounding("a"), 1.0, False), absent, unknown), total_ms=70.0)
    summary = summarise([command(), REFUSED, two, command(problem="x", objects=())])
    assert (summary.commands, summary.right, summary.objects) == (4, 3, 2)
    assert summary.mean_iou == pytest.approx(0.75)
    assert summary.median_ms == pytest.approx(50.0)
    assert summarise([]).mean_iou is None and summarise([]).median_ms is None
    assert "0 / 0" in render_page([], [])


def test_files(tmp_path: Path) -> None:
    page = write_report(tmp_path / "new" / "folder", [REFUSED, command()], [])
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert sorted(p.name for p in page.parent.iterdir()) == ["index.html", "overlay_02.png"]
    with Image.open(page.parent / "overlay_02.png") as picture:
        assert picture.size == (640, 480)  # 20 times 32x24


def test_heat_picture_glows_where_the_heat_is() -> None:
    image = np.full((*SIZE, 3), 120, np.uint8)
    heat = np.zeros(SIZE, np.float32)
    heat[10, 10], heat[3, 3] = 1.0, 0.5
    picture = draw_heat(image, heat, 0)
    assert picture[10, 10].tolist() == [255, 255, 255]
    assert picture[0, 0].tolist() == [42, 42, 42]
    np.testing.assert_allclose(picture[3, 3], 0.5 * 42 + 0.5 * np.array(color_of(0)), atol=1)
    flat = draw_heat(image, np.full(SIZE, 0.3, np.float32), 0)
    assert (flat == 42).all()
    with pytest.raises(ImageError, match=r"size \(24, 32\), got \(2, 2\)"):
        draw_heat(image, np.zeros((2, 2), np.float32), 0)


def test_overlay_picture_of_a_large_image_keeps_its_size() -> None:
    image = np.zeros((480, 800, 3), np.uint8)
    assert overlay_picture(image, []).shape == image.shape
