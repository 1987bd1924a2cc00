"""Data that were made lately, kept for the next norm of a study."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock

from normlab.tasks.data import Data


class KeptData:
    """The data that were asked for last, as many as fit.

    Arguments:
        size: bytes that they may take together; the newest are kept however many they take.

    >>> import numpy as np
    >>> from normlab.tasks.data import Part
    >>> kept = KeptData(size=100)
    >>> def make() -> Data:
    ...     return Data(Part(np.zeros(5), np.zeros(5)))
    >>> first = kept.get("first", make)  # 80 bytes
    >>> kept.get("first", make) is first, kept.get("second", make) is first, kept.get("first", make) is first
    (True, False, False)
    """

    def __init__(self, size: int) -> None:
        self._size, self._taken, self._lock = size, 0, Lock()
        self._entries: OrderedDict[Hashable, Data] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Data]) -> Data:
        """What is kept under a key, or what ``make`` gives now."""
        if (data := self._find(key)) is not None:
            return data
        data = make()
        with self._lock:
            self._taken += data.nbytes - (self._entries[key].nbytes if key in self._entries else 0)
            self._entries[key] = data
            while self._taken > self._size and len(self._entries) > 1:
                _, oldest = self._entries.popitem(last=False)
                self._taken -= oldest.nbytes
        return data

    def _find(self, key: Hashable) -> Data | None:
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
            return self._entries.get(key)
