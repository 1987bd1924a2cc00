"""Products of small matrices of numbers: blocks that are computed within the processor's registers.

Twelve partial sums fill the vector registers, so that each number that is loaded serves three or four of them. Element
(i, j) of a matrix is number ``place + i * row + j * column`` of the memory; strides of any size transpose for free.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from normlab.engine.fused.jit import function
from normlab.engine.fused.lanes import CONTRACT, address, vector_of

_INT = ir.IntType(64)


class Matrix(NamedTuple):
    """Where the elements of a matrix lie."""

    place: int
    row: int
    column: int


def _block(rows: int, columns: int) -> Callable[..., None]:
    """C = start + A B for ``rows`` x ``columns`` elements, from the given places on."""

    @intrinsic
    def block(_, memory, a, a_row, a_column, b, b_row, b_column, c, c_row, c_column, start, step, depth):
        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            memory, a, a_row, a_column, b, b_row, b_column, c, c_row, c_column, start, step, depth = arguments
            vector = vector_of(context, signature.args[0].dtype)

            def at(place: Any, stride: Any, count: int) -> Any:
                index = builder.add(place, builder.mul(stride, _INT(count)))
                return address(context, builder, signature.args[0], memory, index)

            sums = [[cgutils.alloca_once(builder, vector) for _ in range(columns)] for _ in range(rows)]
            for i, line in enumerate(sums):
                first = builder.load(at(start, step, i))
                for sum_ in line:
                    builder.store(first, sum_)
            with cgutils.for_range(builder, depth) as loop:
                left = builder.add(a, builder.mul(a_column, loop.index))
                right = builder.add(b, builder.mul(b_row, loop.index))
                factors = [builder.load(at(right, b_column, j)) for j in range(columns)]
                for i, line in enumerate(sums):
                    factor = builder.load(at(left, a_row, i))
                    for sum_, other in zip(line, factors, strict=True):
                        product = builder.fmul(factor, other, flags=CONTRACT)
                        builder.store(builder.fadd(builder.load(sum_), product, flags=CONTRACT), sum_)
            for i, line in enumerate(sums):
                target = builder.add(c, builder.mul(c_row, _INT(i)))
                for j, sum_ in enumerate(line):
                    builder.store(builder.load(sum_), at(target, c_column, j))
            return context.get_dummy_value()

        return types.void(memory, *(12 * [types.int64])), code

    return block


_block_3x4, _block_2x4, _block_1x4 = _block(3, 4), _block(2, 4), _block(1, 4)
_block_3x1, _block_1x1 = _block(3, 1), _block(1, 1)


@function
def product(memory, a, b, c, rows, columns, depth, start, step):
    """C = A B plus number ``start + i * step`` in row i, for matrices A, B and C."""
    j = 0
    while j < columns:
        wide = 4 if columns - j >= 4 else 1
        right, under = b.place + j * b.column, c.place + j * c.column
        i = 0
        while i < rows:
            left, target, first = a.place + i * a.row, under + i * c.row, start + i * step
            high = 3 if rows - i >= 3 else 1
            if wide == 4 and rows - i == 2:
                high = 2
                _block_2x4(
                    memory, left, a.row, a.column, right, b.row, b.column, target, c.row, c.column, first, step, depth
                )
            elif wide == 4 and high == 3:
                _block_3x4(
                    memory, left, a.row, a.column, right, b.row, b.column, target, c.row, c.column, first, step, depth
                )
            elif wide == 4:
                _block_1x4(
                    memory, left, a.row, a.column, right, b.row, b.column, target, c.row, c.column, first, step, depth
                )
            elif high == 3:
                _block_3x1(
                    memory, left, a.row, a.column, right, b.row, b.column, target, c.row, c.column, first, step, depth
                )
            else:
                _block_1x1(
                    memory, left, a.row, a.column, right, b.row, b.column, target, c.row, c.column, first, step, depth
                )
            i += high
        j += wide
