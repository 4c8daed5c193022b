# What mypy is to know of persistent objects: their base is made at run time.
from typing import Any


class Persistent:
    _p_changed: Any
    _p_estimated_size: int
    _p_jar: Any
    _p_mtime: Any
    _p_oid: Any
    _p_serial: bytes
    _p_state: int
    def _p_activate(self) -> None: ...
    def _p_deactivate(self) -> None: ...
    def _p_invalidate(self) -> None: ...
    def __getstate__(self) -> Any: ...
    def __setstate__(self, state: Any) -> None: ...
