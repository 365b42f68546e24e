"""Clips in, clips out: a stream cut by time (`fixed`, `every`), a picture cut by place (`patches`)."""

from __future__ import annotations

from .contiguous import contiguous
from .every import every
from .fixed import Tail, fixed

__all__ = ["Tail", "contiguous", "every", "fixed"]
