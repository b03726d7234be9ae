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

"""Masks on depth that is broken in every way: a finite target, or a reason why there is none."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from malformed import inputs, understood

from flmm_ros.engine.targets.range_image import RangeImage
from flmm_ros.engine.targets.settings import TargetConfig
from flmm_ros.engine.targets.target import Intrinsics

SHAPE = (14, 18)
ODD = st.sampled_from([np.nan, np.inf, -np.inf, 0.0, -1.0, 1e-20, 1e20, 0.5, 3.4e38])
SMOOTH = st.tuples(st.floats(0.1, 4), st.floats(-0.05, 0.05), st.floats(-0.05, 0.05))


@st.composite
def scenes(draw):
    """A plane, something on it, and pixels that are no depth at all."""
    start, down, right = draw(SMOOTH)
    rows, columns = np.indices(SHAPE)
    depth_m = (start + down * rows + right * columns).astype(np.float32)
    y, x = draw(st.integers(0, 10)), draw(st.integers(0, 12))
    depth_m[y : y + 5, x : x + 6] -= draw(st.sampled_from([0.0, 0.02, 0.05, 0.4]))
    holes = draw(hnp.arrays(bool, SHAPE, elements=st.booleans(), fill=st.just(False)))
    depth_m[holes] = draw(ODD)
    mask = draw(
        st.one_of(
            st.builds(lambda a, b: _rectangle(y, x, a, b), st.integers(0, 9), st.integers(0, 9)),
            hnp.arrays(bool, st.sampled_from([SHAPE, SHAPE, (5, 5)])),
        )
    )
    return depth_m, mask


def _rectangle(y, x, height, width):
    mask = np.zeros(SHAPE, bool)
    mask[y : y + height, x : x + width] = True
    return mask


CONFIGS = st.builds(
    TargetConfig,
    erosion_px=st.integers(0, 3),
    min_depth_px=st.integers(4, 40),
    max_grasps=st.integers(1, 3),
)
FOCAL_PX = st.one_of(st.floats(20, 600), st.sampled_from([1e-3, 1e6]))


@inputs("targets", scenes(), CONFIGS, FOCAL_PX)
def test_targets(scene, config, focal_px):
    depth_m, mask = scene
    image = RangeImage(depth_m, Intrinsics(focal_px, focal_px, 8.5, 6.5), config)
    target = understood(image.target, mask)
    if target is None:
        return
    assert np.isfinite(target.points_m).all() and np.isfinite(target.centroid_m).all()
    assert np.isfinite(target.box.T_camera_box).all() and (target.box.size_m >= 0).all()
    rotation = target.box.T_camera_box[:3, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-6)
    assert 0 < target.valid_ratio <= 1
    assert all(0 <= grasp.score <= 1 for grasp in target.grasps)
