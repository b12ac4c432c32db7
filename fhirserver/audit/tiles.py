"""The Merkle tree of a stored ledger: hashes of its subtrees from full tiles, and from events where no tile is full yet.

A tile of level t holds 256 hashes: leaf hashes for t = 0, roots of the tiles below otherwise (C2SP tlog-tiles).
"""

from __future__ import annotations

from fhirserver.audit import merkle
from fhirserver.store.ledger import TILE, Ledger, Tile

_STEP = 8  # levels of the tree in one tile: 2**8 hashes


class DamagedLedger(Exception):
    """The stored ledger is not complete enough to compute with; `fhirserver audit verify` says what is wrong."""


class StoredTree:
    """The tree of `size` leaves that `ledger` holds. The size must be that of a checkpoint."""

    def __init__(self, ledger: Ledger, size: int) -> None:
        self._ledger = ledger
        self.size = size

    async def complete(self, level: int, index: int) -> bytes:
        """The hash of the complete subtree over leaves [index << level, (index + 1) << level).

        Raises DamagedLedger.
        """
        row_level, rest = divmod(level, _STEP)
        first = index << rest
        hashes = await self._row(row_level, first // TILE)
        part = hashes[first % TILE : first % TILE + (1 << rest)]
        if len(part) != 1 << rest:
            raise DamagedLedger(f"subtree {level}/{index} is beyond the tree")
        return merkle.root(part)

    async def peaks(self, size: int | None = None) -> merkle.Tree:
        """The tree of the first `size` leaves, ready to grow. Raises DamagedLedger."""
        size = self.size if size is None else size
        return merkle.Tree(size, [await self.complete(*peak) for peak in merkle.peaks_of(0, size)])

    async def inclusion(self, index: int) -> list[bytes]:
        """The proof that leaf `index` is in the tree. Raises DamagedLedger."""
        return await merkle.hashes_of(merkle.inclusion_ranges(index, self.size), self.complete)

    async def consistency(self, old: int) -> list[bytes]:
        """The proof that the tree begins with the tree of size `old`. Raises DamagedLedger."""
        return await merkle.hashes_of(merkle.consistency_ranges(old, self.size), self.complete)

    async def store_tiles(self) -> None:
        """Insert the full tiles that are not stored yet, lowest level first. Raises DamagedLedger."""
        level, count = 0, self.size // TILE
        while count:
            missing: list[int] = []
            for n in range(
                count - 1, -1, -1
            ):  # tiles are stored in order: the first one found ends the search
                if (await self._ledger.tiles(level, [n])).get(n):
                    break
                missing.append(n)
            for n in reversed(missing):
                hashes = await self._row(level, n)
                if not await self._ledger.put_tile(level, n, Tile(b"".join(hashes), merkle.root(hashes))):
                    raise DamagedLedger(f"another tile stands at {level}/{n}")
            level, count = level + 1, count // TILE

    async def _row(self, level: int, n: int) -> list[bytes]:
        """The hashes of tile `n` of `level`, fewer than 256 where it is not full yet."""
        tile = (await self._ledger.tiles(level, [n])).get(n)
        if tile is not None:
            return tile.hashes()
        if level == 0:
            try:
                return await self._ledger.leaves(n * TILE, min((n + 1) * TILE, self.size))
            except KeyError:
                raise DamagedLedger(f"a sealed event of tile {n} is missing") from None
        below = range(n * TILE, min((n + 1) * TILE, self.size >> (_STEP * level)))
        tiles = await self._ledger.tiles(level - 1, below)
        return [
            tiles[at].root if at in tiles else merkle.root(await self._row(level - 1, at)) for at in below
        ]
