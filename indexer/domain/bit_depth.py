"""How many bits of a 16-bit channel a camera uses."""

from __future__ import annotations

from typing import Literal, get_args

BitDepth = Literal[10, 12, 14, 16]

BIT_DEPTHS: tuple[BitDepth, ...] = get_args(BitDepth)

FULL: BitDepth = 16

_DARK = 4  # an image whose largest value is no more than white over this could be one of two bits less


def infer_bit_depth(max_value: int) -> BitDepth:
    """The smallest usual depth that holds every value of some images; `max_value`: the largest value of them all.

    Values that are shifted to the upper bits (Mono12 in multiples of 16) are as large as those of 16 bits, and read
    so, since white is at the top then.
    """
    return next(depth for depth in BIT_DEPTHS if max_value <= white_value(depth))


def is_narrow(max_value: int, depth: BitDepth) -> bool:
    """Whether an image uses a quarter of its range at most, so that it may be of fewer bits than it is read as."""
    return max_value <= white_value(depth) // _DARK


def can_hold(max_value: int, depth: BitDepth) -> bool:
    """Whether no value is beyond white."""
    return max_value <= white_value(depth)


def white_value(depth: BitDepth) -> int:
    """The largest value of a channel that uses so many bits."""
    return (1 << depth) - 1
