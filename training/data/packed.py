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

"""Many small objects as one block of bytes.

A list of a hundred thousand samples keeps the memory of the whole JSON it came from in pieces, and
every loader process that looks at it gets a copy of its own, page by page. One block does neither.
"""

from __future__ import annotations

import pickle
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar, overload

T = TypeVar("T")


class PackedList(Sequence[T], Generic[T]):
    """A sequence that is written once; every look at it makes the object anew."""

    def __init__(self, items: Iterable[T]) -> None:
        block = bytearray()
        self._ends = array("Q", [0])
        for item in items:
            block += pickle.dumps(item, protocol=pickle.HIGHEST_PROTOCOL)
            self._ends.append(len(block))
        self._block = bytes(block)

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, index: int) -> T: ...

    @overload
    def __getitem__(self, index: slice) -> list[T]: ...

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        number = range(len(self))[index]  # counts from the end, and says where there is nothing
        own = self._block[self._ends[number] : self._ends[number + 1]]
        return pickle.loads(own)  # noqa: S301  pickled above, in this process

    def __iter__(self) -> Iterator[T]:
        return (self[i] for i in range(len(self)))
