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

"""How Sphinx makes a web site of these pages and of the docstrings: `make docs`.

rosdoc2, which documents packages on docs.ros.org, takes this file too. The API is read by importing
the modules, so it is built in the environment of `make setup`.
"""

from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[1]

project = "flmm_ros"
author = "flmm_ros maintainers"
copyright = f"2026, {author}"
release = version = ElementTree.parse(ROOT / "package.xml").getroot().findtext("version", "")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_heading_anchors = 4
suppress_warnings = ["myst.xref_missing"]  # links out of docs/ are checked by tests/docs
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
napoleon_google_docstring = True
napoleon_numpy_docstring = False

html_theme = "furo"
html_title = f"flmm_ros {version}"
