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

"""Pickled annotations without pickle's danger: only containers, numbers and strings come out.

RefCOCO is published as pickles (`refs(unc).p`), and a pickle is a program: loading one may run
anything. This reader knows no function and no class but a few containers, so that a file with
anything else in it is refused before it does something.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

from training.data.rle import DataError

CONTAINERS: tuple[type, ...] = (set, frozenset, bytearray, complex)
ALLOWED: dict[tuple[str, str], type] = {
    ("collections", "OrderedDict"): OrderedDict,
    # Python 2, which wrote the published files, had another name for builtins
    **{(m, t.__name__): t for t in CONTAINERS for m in ("builtins", "__builtin__")},
}


class _PlainUnpickler(pickle.Unpickler):
    """Refuses every name that is not a plain container."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return ALLOWED[module, name]
        except KeyError:
            raise DataError(
                f"it asks for {module}.{name}, which annotations have no need of and which could "
                "run anything; get the file from where it is published"
            ) from None

    def persistent_load(self, pid: Any) -> Any:
        raise DataError(f"it refers to something outside itself ({pid!r})")


def read_pickle(path: Path) -> Any:
    """The plain data in a pickle.

    Raises:
        DataError: missing, not a pickle, cut off, or holding more than plain data.
    """
    try:
        with path.open("rb") as file:
            # Text of Python 2 is UTF-8 here; the few broken bytes are shown as such, not fatal.
            return _PlainUnpickler(file, encoding="utf-8", errors="replace").load()
    except DataError as error:
        raise DataError(f"{path}: refused: {error}") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    except Exception as error:  # a damaged pickle raises whatever its bytes happen to mean
        raise DataError(
            f"{path}: expected a whole pickle, got {type(error).__name__}: {error}; "
            "download it again"
        ) from error
