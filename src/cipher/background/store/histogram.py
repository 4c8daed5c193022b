##############################################################################
#
# Copyright (c) Zope Foundation and Contributors.
# All Rights Reserved.
#
# This software is subject to the provisions of the Zope Public License,
# Version 2.1 (ZPL).  A copy of the ZPL should accompany this distribution.
# THIS SOFTWARE IS PROVIDED "AS IS" AND ANY AND ALL EXPRESS OR IMPLIED
# WARRANTIES ARE DISCLAIMED, INCLUDING, BUT NOT LIMITED TO, THE IMPLIED
# WARRANTIES OF TITLE, MERCHANTABILITY, AGAINST INFRINGEMENT, AND FITNESS
# FOR A PARTICULAR PURPOSE.
#
##############################################################################
"""Histograms of seconds: numbers of values by size, packed into few bytes.

The bounds of the buckets grow by about a factor of two, so a histogram has
the same relative precision from milliseconds to days.  It is cumulative:
numbers only grow, also when runs are pruned.
"""
import math
import struct
from bisect import bisect_left
from typing import NamedTuple


#: Seconds: the upper bounds of all buckets but the last, which has none.
BOUNDS = tuple(
    digit * 10 ** power if power >= 0 else digit / 10 ** -power
    for power in range(-3, 5) for digit in (1, 2, 5)) + (100000,)

# A value that equals a bound belongs below it, although it is packed with an
# error of up to 2 ** -12.
_LIMITS = tuple(bound * 1.0005 for bound in BOUNDS)

_HEAD = struct.Struct('<dI')


class Histogram(NamedTuple):
    """Numbers of values in the buckets, and their sum."""

    numbers: tuple = (0,) * (len(BOUNDS) + 1)
    seconds: float = 0.0

    def plus(self, values):
        """Return this histogram with more *values*, in seconds."""
        numbers = list(self.numbers)
        for value in values:
            numbers[bisect_left(_LIMITS, value)] += 1
        return Histogram(tuple(numbers), self.seconds + sum(values))

    def merged(self, other):
        """Return the histogram of the values of both."""
        return Histogram(
            tuple(map(sum, zip(self.numbers, other.numbers))),
            self.seconds + other.seconds)

    def pack(self):
        """Return the histogram as bytes, for `unpackAll`."""
        used = [index for index, number in enumerate(self.numbers) if number]
        return _HEAD.pack(
            self.seconds, sum(1 << index for index in used)) + b''.join(
                packNumber(self.numbers[index]) for index in used)


def unpackAll(packed):
    """Return a list of the histograms that were packed one after another."""
    found, at = [], 0
    while at < len(packed):
        seconds, used = _HEAD.unpack_from(packed, at)
        at += _HEAD.size
        numbers = []
        for index in range(len(BOUNDS) + 1):
            number = 0
            if used >> index & 1:
                number, at = unpackNumber(packed, at)
            numbers.append(number)
        found.append(Histogram(tuple(numbers), seconds))
    return found


def packNumber(number):
    """Return the whole *number* as bytes, for `unpackNumber`."""
    # Seven bits a byte, lowest first; the eighth bit says that more follow.
    packed = []
    while number > 127:
        packed.append(number & 127 | 128)
        number >>= 7
    return bytes([*packed, number])


def unpackNumber(packed, at):
    """Return (the number of the bytes at *at*, where they end)."""
    number = shift = 0
    while True:
        byte = packed[at]
        number |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return number, at


#: No value, as `packSpan` returns it; also the number of steps.
NO_SPAN = 2 ** 16 - 1
# Steps of a factor of two: those reach from a millisecond to 49 days.
_STEPS = 2048


def packSpan(seconds):
    """Return *seconds* as a number of two bytes, a logarithm.

    The precision is 0.02 % above a second; below, 1 ms or better.  Longer
    than 49 days counts as 49 days.  None becomes `NO_SPAN`.
    """
    if seconds is None:
        return NO_SPAN
    return min(NO_SPAN - 1,
               round(_STEPS * math.log2(1.0 + 1000.0 * max(0.0, seconds))))


def unpackSpan(number):
    """Return the seconds of a number of `packSpan`, or None."""
    if number == NO_SPAN:
        return None
    return (2.0 ** (number / _STEPS) - 1.0) / 1000.0
