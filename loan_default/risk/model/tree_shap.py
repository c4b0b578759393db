"""Exact SHAP of boosted trees by a table made once of them: a row costs comparisons, look-ups and one sum.

What a leaf adds to the contributions of a row depends only on which comparisons on the way to it hold. So trees are
cut into blocks, a few nodes with all nodes above them: the outcomes of a block's comparisons are a pattern of at most
8 bits, and the table holds the contributions for each pattern of each block. How a library writes its trees is that
library's model file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from loan_default.risk.arrays import Floats, Matrix

Indices = NDArray[np.int64]

_BITS_AT_MOST = 8  # of a pattern: so deep may trees be
_NODES_OF_BLOCK = 3  # with 1 the row costs more look-ups, with 7 the table of depth 4 is seven times as large
_BYTES_AT_MOST = 32_000_000  # of a table: 2,000 trees of depth 5 have 25 MB; a forest of depth 8 has 200
_ELEMENTS_AT_ONCE = 50_000  # of a handful of arrays, small enough for the caches of a processor


@dataclass(frozen=True)
class Trees:
    """Nodes of trees, all in one row of arrays (nodes,); children are positions in it, -1 below a leaf.

    A row goes left at a node where its value of `column` is less than `threshold`, or where it is missing and
    `missing_left`. `cover` is the weight of the training loans that came to a node, `value` the margin of a leaf.
    """

    roots: Indices
    left: Indices
    right: Indices
    column: Indices
    threshold: Matrix
    missing_left: NDArray[np.bool_]
    cover: Floats
    value: Floats

    @cached_property
    def levels(self) -> list[Indices]:
        """Return the nodes of each depth, the roots first."""
        levels = [self.roots]
        while len(inner := self._inner(levels[-1])):
            levels.append(np.concatenate([self.left[inner], self.right[inner]]))
        return levels

    @cached_property
    def leaves(self) -> Indices:
        """Return the leaves; a library may leave nodes that it has cut off in its arrays."""
        nodes = np.concatenate(self.levels)
        return nodes[self.left[nodes] < 0]

    @cached_property
    def parent(self) -> Indices:
        """Return the node above each node; -1 for a root."""
        parent = np.full(len(self.left), -1)
        for level in self.levels:
            inner = self._inner(level)
            parent[self.left[inner]] = parent[self.right[inner]] = inner
        return parent

    @cached_property
    def depth(self) -> Indices:
        """Return how many nodes are above each."""
        depth = np.zeros(len(self.left), dtype=np.int64)
        for number, level in enumerate(self.levels):
            depth[level] = number
        return depth

    @cached_property
    def size(self) -> Indices:
        """Return how many comparisons each node has with all below it; 0 for a leaf."""
        size = np.zeros(len(self.left), dtype=np.int64)
        for level in reversed(self.levels):
            inner = self._inner(level)
            size[inner] = 1 + size[self.left[inner]] + size[self.right[inner]]
        return size

    def above(self, nodes: Indices) -> Iterator[tuple[Indices, Indices, Indices]]:
        """Yield step by step towards the roots: positions among `nodes`, the node that is left, the node reached."""
        positions, below = np.arange(len(nodes)), nodes
        while True:
            reached = self.parent[below]
            positions, below, reached = (array[reached >= 0] for array in (positions, below, reached))
            if not len(positions):
                return
            yield positions, below, reached
            below = reached

    def trial_rows(self, count: int, columns: int) -> Matrix:
        """Draw rows (count, columns) that the comparisons tell apart: thresholds, what is just below, nothing."""
        rng, inner = np.random.default_rng(0), self.left >= 0
        X = np.full((count, columns), np.nan, dtype=np.float32)
        for column in np.unique(self.column[inner]):
            X[:, column] = rng.choice(self.threshold[inner & (self.column == column)], count)
        X = np.where(rng.random(X.shape) < 1 / 3, np.nextafter(X, -np.inf, dtype=np.float32), X)
        X[rng.random(X.shape) < 1 / 4] = np.nan
        return X

    @property
    def is_finite(self) -> bool:
        """Tell whether a missing value can stand for one that is less than every threshold, or than none."""
        return bool(np.isfinite(self.threshold[self.left >= 0]).all())

    def _inner(self, nodes: Indices) -> Indices:
        return nodes[self.left[nodes] >= 0]


@dataclass(frozen=True)
class _Blocks:
    """Blocks of trees: the node that each begins with, which stands for all nodes below it.

    `of` (nodes,): the block of a node, -1 above all blocks. `bit` (nodes,): the place of a node's comparison in the
    patterns, which is its depth for a node above blocks, the same for all of them.
    """

    first: Indices
    of: Indices
    bit: Indices

    @classmethod
    def of_trees(cls, trees: Trees) -> Self | None:
        """Cut trees into blocks as large as may be; None where a tree is too deep."""
        of = np.full(len(trees.left), -1)
        for depth, level in enumerate(trees.levels):
            begins = (of[level] < 0) & (trees.size[level] <= min(_NODES_OF_BLOCK, _BITS_AT_MOST - depth))
            of[level[begins]] = level[begins]
            inner = level[trees.left[level] >= 0]
            of[trees.left[inner]] = of[trees.right[inner]] = of[inner]
        if (of[trees.leaves] < 0).any():
            return None
        first = np.unique(of[of >= 0])
        of = np.where(of < 0, -1, np.searchsorted(first, of))
        bit, inside = trees.depth.copy(), np.flatnonzero((of >= 0) & (trees.left >= 0))
        bit[inside] = trees.depth[first[of[inside]]] + _rank(of[inside])
        return cls(first, of, bit)


@dataclass(frozen=True)
class _Conditions:
    """Conditions that lead to leaves (leaves, conditions): one for each column that is asked on the way to a leaf.

    Each is met by the patterns p with `p & mask == wanted`, and by the share `cover` of the training loans that come
    to it. Where a leaf has fewer, `column` is -1, and every pattern and loan meets it.
    """

    column: Indices
    mask: Indices
    wanted: Indices
    cover: Floats

    @classmethod
    def of_leaves(cls, trees: Trees, leaves: Indices, bit: Indices) -> Self:
        shape = len(leaves), max(len(trees.levels) - 1, 1)
        column, cover = np.full(shape, -1), np.ones(shape)
        mask, wanted = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
        for step, (rows, below, node) in enumerate(trees.above(leaves)):
            # A comparison is the value's being less, so a leaf to the left wants a 1.
            column[rows, step], cover[rows, step] = trees.column[node], trees.cover[below] / trees.cover[node]
            mask[rows, step] = 1 << bit[node]
            wanted[rows, step] = (trees.left[node] == below) << bit[node]
            for earlier in range(step):  # the same column, asked again: one condition
                both = rows[column[rows, earlier] == column[rows, step]]
                cover[both, earlier] *= cover[both, step]
                mask[both, earlier] |= mask[both, step]
                wanted[both, earlier] |= wanted[both, step]
                column[both, step], cover[both, step], mask[both, step], wanted[both, step] = -1, 1.0, 0, 0
        return cls(column, mask, wanted, cover)


@dataclass(frozen=True)
class ShapTable:
    """Contributions for each pattern of each block.

    Attributes:
        columns: of the matrix.
        compared: (blocks, 8) the column of a comparison; plus `columns` where a missing value does not hold.
        thresholds: (blocks, 8) what its value is less than where it holds; -inf where a block has fewer.
        credited: (blocks, slots) the columns that a block's contributions belong to; `columns` for none.
        contributions_of: (blocks · patterns, slots), all patterns of a block below each other.
    """

    columns: int
    compared: Indices
    thresholds: Matrix
    credited: Indices
    contributions_of: Matrix

    @classmethod
    def of_trees(cls, trees: Trees, columns: int) -> Self | None:
        """Make the table; None where it would be too large, or a value could not be compared as the trees do."""
        blocks = _Blocks.of_trees(trees)
        if blocks is None or not trees.is_finite:
            return None
        bits, leaves = int((trees.depth + trees.size)[blocks.first].max()), trees.leaves
        conditions = _Conditions.of_leaves(trees, leaves, blocks.bit)
        slots, credited = _slots(conditions.column, blocks.of[leaves], columns)
        if 4 * credited.size << bits > _BYTES_AT_MOST:
            return None
        table = np.zeros((len(blocks.first), 1 << bits, credited.shape[1]), dtype=np.float32)
        _fill(table, conditions, trees.value[leaves], blocks.of[leaves], slots)
        return cls(columns, *_comparisons(trees, blocks, columns), credited, table.reshape(-1, table.shape[2]))

    def contributions(self, X: Matrix) -> Floats:
        """Return what each column adds to the margin (n, columns), in bounded memory."""
        at_once = max(1, _ELEMENTS_AT_ONCE // max(self.compared.size, self.credited.size))
        if len(X) <= at_once:
            return self._part(X)
        return np.concatenate([self._part(X[start : start + at_once]) for start in range(0, len(X), at_once)])

    def _part(self, X: Matrix) -> Floats:
        # What is missing is less than every threshold, or than none.
        values = np.concatenate([np.fmax(X, -np.inf), np.fmin(X, np.inf)], axis=1)
        # All positions are within bounds; not looking, as "wrap" lets numpy, halves the time.
        holds = values.take(self.compared, axis=1, mode="wrap") < self.thresholds
        patterns = np.packbits(holds, bitorder="little").reshape(len(X), len(self.compared))
        contributions = self.contributions_of.take(patterns + self._begins, axis=0)
        width = self.columns + 1
        owners = self.credited.ravel()
        if len(X) != 1:
            owners = (owners + np.arange(0, len(X) * width, width)[:, None]).ravel()
        sums = np.bincount(owners, weights=contributions.ravel(), minlength=len(X) * width)
        return np.asarray(sums, dtype=np.float64).reshape(len(X), width)[:, :-1]

    @cached_property
    def _begins(self) -> Indices:
        blocks = len(self.credited)
        return np.arange(blocks) * (len(self.contributions_of) // blocks)


def _rank(groups: Indices) -> Indices:
    """Return the position of each element (n,) among those of its group."""
    order = np.argsort(groups, kind="stable")
    _, starts, counts = np.unique(groups[order], return_index=True, return_counts=True)
    rank = np.empty(len(groups), dtype=np.int64)
    rank[order] = np.arange(len(groups)) - np.repeat(starts, counts)
    return rank


def _slots(column: Indices, block: Indices, columns: int) -> tuple[Indices, Indices]:
    """Give each column of a block a slot.

    Args:
        column: (leaves, conditions) of each leaf, -1 for none.
        block: (leaves,) of each.
        columns: of the matrix.

    Returns:
        the slot of each condition (leaves, conditions), 0 for none, and the columns by block and slot.
    """
    present = column >= 0
    owners, position = np.unique((block[:, None] * columns + column)[present], return_inverse=True)
    rank = _rank(owners // columns)
    slots = np.zeros(column.shape, dtype=np.int64)
    slots[present] = rank[position]
    credited = np.full((block.max() + 1, rank.max(initial=0) + 1), columns)
    credited[owners // columns, rank] = owners % columns
    return slots, credited


def _comparisons(trees: Trees, blocks: _Blocks, columns: int) -> tuple[Indices, Matrix]:
    """Return column and threshold of each comparison by block and bit, as `ShapTable` has them."""
    nodes = np.full((len(blocks.first), _BITS_AT_MOST), -1)
    inside = np.flatnonzero((blocks.of >= 0) & (trees.left >= 0))
    nodes[blocks.of[inside], blocks.bit[inside]] = inside
    for block, _, node in trees.above(blocks.first):
        nodes[block, blocks.bit[node]] = node
    compared = trees.column[nodes] + np.where(trees.missing_left[nodes], 0, columns)
    thresholds = trees.threshold[nodes]
    compared[nodes < 0], thresholds[nodes < 0] = 0, -np.inf
    return compared, thresholds


def _fill(table: Matrix, conditions: _Conditions, values: Floats, block: Indices, slots: Indices) -> None:
    """Add what each leaf contributes to a table (blocks, patterns, slots).

    A leaf of value w with conditions i, met (o = 1) or not (o = 0) and by the share z of the training loans, gives
    w (o_i - z_i) · sum over sets S of the others of |S|! (k - 1 - |S|)! / k! · product of o in S and of z outside
    (S. Lundberg et al., From local explanations to global understanding, 2020). As the weights are the integrals of
    t^|S| (1 - t)^(k - 1 - |S|) from 0 to 1, the sum is that of the product of all t o + (1 - t) z, and a polynomial
    of degree k - 1: k / 2 points of Gauss and Legendre give it exactly.
    """
    count = conditions.column.shape[1]
    points, weights = np.polynomial.legendre.leggauss((count + 1) // 2)
    patterns, rank = np.arange(table.shape[1]), _rank(block)
    at_once = max(1, _ELEMENTS_AT_ONCE // (count * len(patterns)))
    for number in range(rank.max() + 1):  # one leaf of a block at a time, as each adds to the same cells
        group = np.flatnonzero(rank == number)
        for leaves in np.split(group, range(at_once, len(group), at_once)):
            mask, wanted = (array[leaves].T[:, :, None] for array in (conditions.mask, conditions.wanted))
            cover = conditions.cover[leaves].T[:, :, None]
            met = ((patterns & mask) == wanted).astype(np.float64)  # (conditions, leaves, patterns)
            shares = np.zeros_like(met)
            for point, weight in zip((1 + points) / 2, weights / 2, strict=True):
                factors = point * met + (1 - point) * cover
                for index in range(count):
                    shares[index] += weight * np.delete(factors, index, axis=0).prod(axis=0)
            added = values[leaves, None] * (met - cover) * shares
            for index in range(count):
                table[block[leaves], :, slots[leaves, index]] += added[index]
