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

"""Configuration from command lines, files and mappings: a configuration that holds, or an error."""

from dataclasses import fields

import pytest
import yaml
from hypothesis import strategies as st
from malformed import inputs, understood

from flmm_ros.engine.config import (
    GrounderConfig,
    ModelConfig,
    load_grounder_config,
    load_model_config,
    with_overrides,
)
from flmm_ros.replay.scenario import Scenario, load_scenario

MODEL_KEYS = [f.name for f in fields(ModelConfig)]
KEYS = [f.name for f in fields(GrounderConfig)] + ["grounder.device", "grounder.", "model.lmm", "x"]
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(["auto", "cpu", "cuda:", "cuda:x", "cuda:99", "nan", ".inf", "2024-01-01"]),
)
VALUES = st.one_of(
    ODD, ODD, st.lists(ODD, max_size=3), st.dictionaries(st.text(max_size=4), ODD, max_size=2)
)
PAIRS = st.builds(
    "{}{}{}".format,
    st.sampled_from(KEYS),
    st.sampled_from(["=", "=", " = ", "", ":"]),
    st.one_of(ODD.map(str), st.text(max_size=16), st.sampled_from(["[1, {", "!!python/x", "\t"])),
)
ODD_KEYS = st.one_of(st.sampled_from(KEYS), st.integers(), st.none())


def check_grounder(config):
    """Whatever passed is within what its fields allow."""
    for f in fields(config):
        value, bounds, choices = (
            getattr(config, f.name),
            f.metadata["bounds"],
            f.metadata["choices"],
        )
        assert type(value) is type(f.default)
        assert bounds is None or bounds[0] <= value <= bounds[1]
        assert not choices or value in choices


@inputs(
    "overrides",
    st.one_of(
        st.lists(PAIRS, max_size=3),
        st.dictionaries(ODD_KEYS, VALUES, max_size=3),
    ),
)
def test_overrides(overrides):
    config = understood(with_overrides, GrounderConfig(), overrides)
    if config is not None:
        check_grounder(config)


def document(keys):
    """YAML of nearly the right keys, or bytes that are no YAML."""
    mapping = st.dictionaries(
        st.one_of(st.sampled_from(keys), st.sampled_from(keys), st.text(max_size=6), st.integers()),
        VALUES,
        max_size=5,
    )
    written = mapping.map(lambda content: yaml.safe_dump(content, allow_unicode=True).encode())
    broken = st.sampled_from(
        [b"a: [1", b"\xff\xfe\x00", b"- 1", b"", b"!!python/object:x {}", b"\t"]
    )
    return st.one_of(written, written, written, broken, st.binary(max_size=30))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("configuration")


def file_of(folder, content):
    path = folder / "file.yaml"
    path.write_bytes(content)
    return path


def test_model_files(folder):
    @inputs("model files", document(MODEL_KEYS))
    def read(content):
        path = file_of(folder, content)
        model = understood(load_model_config, path)
        assert model is None or (model.lmm and model.heads)
        config = understood(load_grounder_config, path)
        if config is not None:
            check_grounder(config)

    read()


SCENARIO_KEYS = [f.name for f in fields(Scenario)] + ["say", "at_s", "labels", "every", "topics"]


def test_scenarios(folder):
    @inputs("scenarios", document(SCENARIO_KEYS))
    def read(content):
        scenario = understood(load_scenario, file_of(folder, content))
        assert scenario is None or scenario.commands or scenario.topics

    read()
