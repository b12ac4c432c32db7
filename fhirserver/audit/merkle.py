"""Merkle trees over leaf hashes: roots, proofs, and a tree that grows. Pure. Source: RFC 6962 section 2.1.

A subtree is named by the half-open range of leaves that it covers, or, where it is complete (2**level leaves), by
(level, index). Verification of proofs follows RFC 9162 sections 2.1.3.2 and 2.1.4.2.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterable, Sequence

_BLOCK = 256
EMPTY_ROOT = hashlib.sha256(b"").digest()

Range = tuple[int, int]
Complete = Callable[[int, int], Awaitable[bytes]]  # (level, index) -> hash of a complete subtree


def node(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root(hashes: Sequence[bytes]) -> bytes:
    """The root of the tree over leaf `hashes`; EMPTY_ROOT where there are none."""
    if not hashes:
        return EMPTY_ROOT
    sha256 = hashlib.sha256
    row = list(hashes)
    while len(row) > 1:  # an odd last one moves up as it is, which gives RFC 6962's shape
        last = row[-1:] if len(row) % 2 else []
        row = [
            sha256(b"\x01" + left + right).digest() for left, right in zip(row[0::2], row[1::2], strict=False)
        ] + last
    return row[0]


class Tree:
    """A tree that grows: it keeps only the roots of its complete subtrees (the peaks), largest first."""

    __slots__ = ("peaks", "size")

    def __init__(self, size: int = 0, peaks: Iterable[bytes] = ()) -> None:
        self.size = size
        self.peaks = list(peaks)
        if len(self.peaks) != size.bit_count():
            raise ValueError("a tree has one peak for each bit of its size")

    def append(self, h: bytes) -> None:
        """Add a leaf hash at the end."""
        self._add(h, 0)

    def extend(self, hashes: Iterable[bytes]) -> None:
        """Add leaf hashes at the end, in order."""
        rest = list(hashes)
        at = 0
        while at < len(rest):
            if self.size % _BLOCK == 0 and len(rest) - at >= _BLOCK:  # the same tree, for less work
                self._add(root(rest[at : at + _BLOCK]), _BLOCK.bit_length() - 1)
                at += _BLOCK
            else:
                self._add(rest[at], 0)
                at += 1

    def _add(self, h: bytes, level: int) -> None:
        """Add the root of 2**level leaves at the end; the size must be a multiple of that."""
        peaks, size = self.peaks, self.size >> level
        while size & 1:
            h = hashlib.sha256(b"\x01" + peaks.pop() + h).digest()
            size >>= 1
        peaks.append(h)
        self.size += 1 << level

    def root(self) -> bytes:
        """The root over all leaves so far."""
        return fold(self.peaks)

    def copy(self) -> Tree:
        """A tree of its own with the same leaves."""
        return Tree(self.size, self.peaks)


def fold(peaks: Sequence[bytes]) -> bytes:
    """The root of a tree (or subtree) whose complete subtrees, largest first, have the roots `peaks`."""
    if not peaks:
        return EMPTY_ROOT
    h = peaks[-1]
    for left in reversed(peaks[:-1]):
        h = node(left, h)
    return h


def peaks_of(start: int, end: int) -> list[Range]:
    """The complete subtrees of the subtree over leaves [start, end), as (level, index), largest first."""
    found = []
    while start < end:
        level = (end - start).bit_length() - 1
        found.append((level, start >> level))
        start += 1 << level
    return found


def inclusion_ranges(index: int, size: int) -> list[Range]:
    """The subtrees whose hashes prove that leaf `index` is in the tree of `size`, from leaf to root."""
    if not 0 <= index < size:
        raise ValueError("the index is not in the tree")
    path: list[Range] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append((middle, end))
            end = middle
        else:
            path.append((start, middle))
            start = middle
    return path[::-1]


def consistency_ranges(old: int, new: int) -> list[Range]:
    """The subtrees whose hashes prove that the tree of size `new` begins with that of size `old`."""
    if not 0 < old <= new:
        raise ValueError("a consistency proof takes sizes 0 < old <= new")
    path: list[Range] = []
    start, end, whole = 0, new, True
    while old != end:
        middle = start + _split(end - start)
        if old <= middle:
            path.append((middle, end))
            end = middle
        else:
            path.append((start, middle))
            start, whole = middle, False
    return ([] if whole else [(start, end)]) + path[::-1]


def _split(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << ((size - 1).bit_length() - 1)


async def hashes_of(ranges: Iterable[Range], complete: Complete) -> list[bytes]:
    """The hashes of the subtrees `ranges`, with those of complete subtrees from `complete`."""
    found = []
    for start, end in ranges:
        found.append(fold([await complete(level, index) for level, index in peaks_of(start, end)]))
    return found


def is_included(h: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """True where `proof` shows that leaf hash `h` stands at `index` in the tree of `size` with `root`."""
    if not 0 <= index < size:
        return False
    at, last = index, size - 1
    for sibling in proof:
        if last == 0:
            return False
        if at & 1 or at == last:
            h = node(sibling, h)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            h = node(h, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and h == root


def is_consistent(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """True where `proof` shows that the tree of size `new` begins with the tree of size `old`."""
    if old == new:
        return old_root == new_root and not proof
    if old == 0:
        return old_root == EMPTY_ROOT and not proof
    if not 0 < old < new or not proof:
        return False
    path = list(proof) if old & (old - 1) else [old_root, *proof]
    at, last = old - 1, new - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    first = second = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            first, second = node(sibling, first), node(sibling, second)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            second = node(second, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and first == old_root and second == new_root
