"""The data that travels between the engine's files, and the errors it raises.

Shape legend, used by every docstring of the engine:

    N  phrases            T  tokens of one phrase      R  recorded rows (tokens of all phrases)
    L  text layers        A  attention heads           C  map channels (L * A * views)
    S  sequence length    I  image tokens (columns)    D  hidden width of the language model
    h, w  attention grid or coarse mask                H, W  the user's image

Images are RGB uint8 [H, W, 3]. Boxes are (x0, y0, x1, y1) in pixels of the user's image, far edges
exclusive. Does not know about: models, files, ROS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # a robot program that only asks needs no torch, nor the seconds to load it
    import torch


class FlmmError(Exception):
    """Something the user can act on. The message says what was expected, what came, what to do."""

    code = "INTERNAL"


class ConfigError(FlmmError):
    """A configuration value, key or file that cannot be used."""

    code = "CONFIG"


class CheckpointError(FlmmError):
    """Weights that do not fit the model, or are missing, truncated or corrupt."""

    code = "CHECKPOINT"


class PromptError(FlmmError):
    """A command or phrase that cannot be read: empty, too long, or not language."""

    code = "BAD_COMMAND"


class UnknownWordError(PromptError):
    """Words the language model has no token for; `words` names them as the user wrote them."""

    code = "UNKNOWN_WORD"

    def __init__(self, message: str, words: tuple[str, ...]) -> None:
        super().__init__(message)
        self.words = words


class ImageError(FlmmError):
    """An image that is not RGB uint8 [H, W, 3], too small to look at, or too large."""

    code = "BAD_IMAGE"


class TargetError(FlmmError):
    """Depth or intrinsics that cannot be used, or too little of them; the masks stay valid."""

    code = "NO_DEPTH"


class Cancelled(FlmmError):
    """Raised by a progress callback to stop between two stages or two generated tokens."""

    code = "CANCELED"


class Intent(str, Enum):
    """What a command wants."""

    GROUND = "ground"  # "pick up the red mug": the command holds the phrase
    ANSWER_AND_GROUND = "answer_and_ground"  # "what can I drink from?": the answer does
    ANSWER = "answer"  # "how many balls are there?": text only


class Stage(str, Enum):
    """The stages of one command, in order; the names of timings and of progress reports."""

    ENCODE = "encode"  # image -> LMM prefix cache
    GENERATE = "generate"  # command -> answer text
    READ = "read"  # phrase tokens -> attention rows and hidden states
    DECODE = "decode"  # attention maps -> coarse logits
    SEE = "see"  # image -> SAM features
    REFINE = "refine"  # coarse logits + SAM features -> mask logits and scores


@dataclass(frozen=True)
class Progress:
    """Passed to a progress callback before each stage and after each generated token."""

    stage: Stage
    partial_text: str = ""


# Where it also has a method `check()`, that is called between the layers within a stage, so that a
# long one can be left too.
ProgressCallback = Callable[[Progress], None]


@dataclass(frozen=True)
class Phrase:
    """Words to ground, and where they stand.

    `text_span` is a half-open range of characters in the text the phrase was found in (the answer
    or the command), `token_span` a half-open range of the tokens that are read.
    """

    text: str
    text_span: tuple[int, int]
    token_span: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class View:
    """One grid of image tokens, and the part of the image it covers.

    columns: [h * w] indices into the image tokens (0 is the first image token), row-major; columns
        that hold no pixels (newline tokens) are left out.
    box_xyxy_px: what the whole grid covers, in pixels of the user's image. Padding makes it larger
        than the image.
    """

    name: str
    columns: torch.Tensor
    grid_hw: tuple[int, int]
    box_xyxy_px: tuple[float, float, float, float]


@dataclass(frozen=True)
class Reading:
    """What one forward over phrase tokens recorded.

    maps: [N, C, h, w] float32 attention after the softmax, merged over each phrase's tokens;
        channel = layer * A + head, views one block after another.
    cues: N tensors [T, D] float32, hidden states of the phrase tokens summed over layers with the
        head's learned weights.
    """

    maps: torch.Tensor
    cues: tuple[torch.Tensor, ...]


@dataclass(frozen=True)
class Grounding:
    """One phrase and the pixels it means.

    mask [H, W] bool, soft_mask [H, W] float32 in 0..1, heat [H, W] float32 in 0..1 (the attention
    itself, averaged over layers and heads, or over the chosen ones: why the mask is where it is).
    `score` in 0..1 is the predicted IoU where the head was trained for it, or, where that was
    calibrated, the probability that the IoU is above 0.5; below the threshold `is_present` is False
    and the mask is only the best guess. `text_span` are the characters of the
    phrase in the answer text. `is_ambiguous`: the phrase fits several things equally; `candidates`
    are these things, one Grounding each, and the mask is that of the best.
    """

    phrase: str
    mask: NDArray[np.bool_]
    soft_mask: NDArray[np.float32]
    heat: NDArray[np.float32]
    score: float
    box_xyxy_px: tuple[int, int, int, int]
    is_present: bool = True
    text_span: tuple[int, int] | None = None
    is_ambiguous: bool = False
    candidates: tuple[Grounding, ...] = ()

    def __post_init__(self) -> None:
        if self.mask.ndim != 2 or self.mask.dtype != np.bool_:
            raise ValueError(
                f"Grounding.mask: expected bool [H, W], got {self.mask.dtype} {self.mask.shape}"
            )
        for name in ("soft_mask", "heat"):
            array = getattr(self, name)
            if array.shape != self.mask.shape or array.dtype != np.float32:
                raise ValueError(
                    f"Grounding.{name}: expected float32 {self.mask.shape}, "
                    f"got {array.dtype} {array.shape}"
                )
        if not 0.0 <= self.score <= 1.0:
            raise ValueError(f"Grounding.score: expected 0..1, got {self.score}")


@dataclass(frozen=True)
class Intrinsics:
    """A pinhole camera: focal lengths and principal point in pixels, whole numbers being pixel
    centres. `distortion` as in OpenCV (plumb bob or rational), empty for a rectified image."""

    fx_px: float
    fy_px: float
    cx_px: float
    cy_px: float
    distortion: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not (0 < self.fx_px < np.inf and 0 < self.fy_px < np.inf):
            raise TargetError(
                f"camera_info: expected focal lengths above 0 px, got {self.fx_px} and "
                f"{self.fy_px}; is the camera calibrated?"
            )
        if not np.isfinite([self.cx_px, self.cy_px, *self.distortion]).all():
            raise TargetError(
                f"camera_info: expected finite numbers, got c = ({self.cx_px}, {self.cy_px}), "
                f"d = {self.distortion}; is the camera calibrated?"
            )


@dataclass(frozen=True)
class Box:
    """An oriented box: T_camera_box [4, 4] from its middle, full edge lengths [3] along its axes.

    is_upright: it stands on a plane that was found below it; z is that plane's normal, x the
    longer side.
    """

    T_camera_box: NDArray[np.float64]
    size_m: NDArray[np.float64]
    is_upright: bool


@dataclass(frozen=True)
class Grasp:
    """One grasp of a parallel gripper: T_camera_grasp [4, 4] from the point between the finger
    tips; z = approach, y = the line along which the fingers close, x = y cross z.

    width_m lies between the contacts, clearance_m between the opened fingers and the nearest other
    thing, score is 0..1.
    """

    T_camera_grasp: NDArray[np.float64]
    width_m: float
    clearance_m: float
    score: float


@dataclass(frozen=True)
class Target:
    """An object in space, in metres in the camera's optical frame (x right, y down, z forward).

    surface [H, W] bool: the pixels whose depth was used; points_m [P, 3] belong to them, row-major.
    valid_ratio: their share of the mask.
    """

    surface: NDArray[np.bool_]
    points_m: NDArray[np.float32]
    centroid_m: NDArray[np.float64]
    box: Box
    valid_ratio: float
    grasps: tuple[Grasp, ...] = ()


@dataclass(frozen=True)
class Answer:
    """The result of one command. An ambiguous phrase stands in `objects` with each of its
    candidates. `timings_ms` has one entry per stage that ran, and "total"."""

    text: str
    objects: tuple[Grounding, ...]
    intent: Intent
    timings_ms: Mapping[str, float] = field(default_factory=dict)


def tight_box(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 around a mask, far edges exclusive; all zero for an empty mask."""
    if not mask.any():
        return 0, 0, 0, 0
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
