"""Products of small matrices: blocks that are computed within the processor's registers.

A loop in Numba's Python reaches a sixth of what the processor can do on matrices of this size, because every
partial sum goes through memory. The two kinds of block below are written as LLVM vector instructions instead; all
their partial sums stay in registers. Matrices lie in flat arrays, row after row: element (i, j) is at
``offset + i * row + j * column``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

VECTOR_BYTES = 32
WIDTH = 16  # columns of a block of a product; every row length is a multiple of it
_CONTRACT = ("contract",)  # a product and a sum may become one fused operation
_INT = ir.IntType(64)


def _lanes(context: Any, array: Any) -> tuple[ir.Type, int]:
    return context.get_data_type(array.dtype), 8 * VECTOR_BYTES // array.dtype.bitwidth


def _address(context: Any, builder: Any, kind: Any, array: Any, offset: Any) -> Any:
    return builder.gep(context.make_array(kind)(context, builder, array).data, [offset])


def _step(builder: Any, start: Any, count: Any, stride: Any) -> Any:
    """The address ``count * stride`` elements after ``start``."""
    return builder.gep(start, [builder.mul(count, stride)])


def _vector(builder: Any, address: Any, vector: ir.VectorType) -> Any:
    return builder.bitcast(address, vector.as_pointer())


def _spread(builder: Any, value: Any, vector: ir.VectorType) -> Any:
    """A vector with ``value`` in every lane."""
    nothing = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(nothing, value, ir.IntType(32)(0))
    lanes = ir.Constant(ir.VectorType(ir.IntType(32), vector.count), [0] * vector.count)
    return builder.shuffle_vector(first, nothing, lanes)


def _add_product(builder: Any, place: Any, left: Any, right: Any) -> None:
    total = builder.fadd(builder.load(place), builder.fmul(left, right, flags=_CONTRACT), flags=_CONTRACT)
    builder.store(total, place)


def _product_block(rows: int) -> Callable[..., None]:
    """C = start + A B for ``rows`` rows and ``WIDTH`` columns; ``start`` has one value for each row."""

    @intrinsic
    def block(_, a, a0, a_row, a_column, b, b0, b_row, c, c0, c_row, start, s0, s_step, depth):  # type: ignore
        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            a, a0, a_row, a_column, b, b0, b_row, c, c0, c_row, start, s0, s_step, depth = arguments
            kinds = signature.args
            element, lanes = _lanes(context, kinds[0])
            vector = ir.VectorType(element, lanes)
            pa, pb = (_address(context, builder, kinds[i], arguments[i], arguments[i + 1]) for i in (0, 4))
            pc, ps = (_address(context, builder, kinds[i], arguments[i], arguments[i + 1]) for i in (7, 10))
            vectors = range(WIDTH // lanes)
            sums = [[cgutils.alloca_once(builder, vector) for _ in vectors] for _ in range(rows)]
            for row, places in enumerate(sums):
                first = _spread(builder, builder.load(_step(builder, ps, s_step, _INT(row))), vector)
                for place in places:
                    builder.store(first, place)
            with cgutils.for_range(builder, depth) as loop:
                line = _step(builder, pb, loop.index, b_row)
                right = [
                    builder.load(_vector(builder, builder.gep(line, [_INT(v * lanes)]), vector), align=4)
                    for v in vectors
                ]
                column = _step(builder, pa, loop.index, a_column)
                for row, places in enumerate(sums):
                    left = _spread(builder, builder.load(_step(builder, column, a_row, _INT(row))), vector)
                    for v in vectors:
                        _add_product(builder, places[v], left, right[v])
            for row, places in enumerate(sums):
                line = _step(builder, pc, c_row, _INT(row))
                for v in vectors:
                    target = _vector(builder, builder.gep(line, [_INT(v * lanes)]), vector)
                    builder.store(builder.load(places[v]), target, align=4)
            return context.get_dummy_value()

        return types.void(a, a0, a_row, a_column, b, b0, b_row, c, c0, c_row, start, s0, s_step, depth), code

    return block  # type: ignore[no-any-return]


def _dot_block(rows: int, columns: int) -> Callable[..., None]:
    """C = A B^T for ``rows`` x ``columns`` dot products over ``length`` elements, a multiple of ``WIDTH``."""

    @intrinsic
    def block(_, a, a0, a_row, b, b0, b_row, c, c0, c_row, length):  # type: ignore
        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            a, a0, a_row, b, b0, b_row, c, c0, c_row, length = arguments
            kinds = signature.args
            element, lanes = _lanes(context, kinds[0])
            vector = ir.VectorType(element, lanes)
            pa, pb, pc = (_address(context, builder, kinds[i], arguments[i], arguments[i + 1]) for i in (0, 3, 6))
            sums = [[cgutils.alloca_once(builder, vector) for _ in range(columns)] for _ in range(rows)]
            for places in sums:
                for place in places:
                    builder.store(ir.Constant(vector, [0.0] * lanes), place)
            with cgutils.for_range(builder, builder.sdiv(length, _INT(lanes))) as loop:
                here = builder.mul(loop.index, _INT(lanes))
                left = [
                    builder.load(
                        _vector(builder, builder.gep(_step(builder, pa, a_row, _INT(r)), [here]), vector), align=4
                    )
                    for r in range(rows)
                ]
                for q in range(columns):
                    right = builder.gep(_step(builder, pb, b_row, _INT(q)), [here])
                    right = builder.load(_vector(builder, right, vector), align=4)
                    for r in range(rows):
                        _add_product(builder, sums[r][q], left[r], right)
            kind = ir.FunctionType(element, [element, vector])
            name = f"llvm.vector.reduce.fadd.v{lanes}f{8 * VECTOR_BYTES // lanes}"
            across = cgutils.get_or_insert_function(builder.module, kind, name)
            for r in range(rows):
                for q in range(columns):
                    lanes_sum = [ir.Constant(element, -0.0), builder.load(sums[r][q])]
                    total = builder.call(across, lanes_sum, fastmath=("reassoc",))
                    builder.store(total, builder.gep(_step(builder, pc, c_row, _INT(r)), [_INT(q)]))
            return context.get_dummy_value()

        return types.void(a, a0, a_row, b, b0, b_row, c, c0, c_row, length), code

    return block  # type: ignore[no-any-return]


_product_4, _product_2, _product_1 = _product_block(4), _product_block(2), _product_block(1)
_dots_2x4, _dots_2x1, _dots_1x1 = _dot_block(2, 4), _dot_block(2, 1), _dot_block(1, 1)


@njit(cache=True)
def product(a, a0, a_row, a_column, rows, b, b0, b_row, columns, c, c0, c_row, start, s0, s_step, depth):  # type: ignore
    """C = start + A B; ``columns`` is a multiple of ``WIDTH``."""
    for k in range(0, columns, WIDTH):
        r = 0
        while r + 4 <= rows:
            _product_4(
                a, a0 + r * a_row, a_row, a_column, b, b0 + k, b_row, c, c0 + r * c_row + k, c_row,
                start, s0 + r * s_step, s_step, depth,
            )  # fmt: skip
            r += 4
        while r + 2 <= rows:
            _product_2(
                a, a0 + r * a_row, a_row, a_column, b, b0 + k, b_row, c, c0 + r * c_row + k, c_row,
                start, s0 + r * s_step, s_step, depth,
            )  # fmt: skip
            r += 2
        if r < rows:
            _product_1(
                a, a0 + r * a_row, a_row, a_column, b, b0 + k, b_row, c, c0 + r * c_row + k, c_row,
                start, s0 + r * s_step, s_step, depth,
            )  # fmt: skip


@njit(cache=True)
def dots(a, a0, a_row, rows, b, b0, b_row, columns, c, c0, c_row, length):  # type: ignore
    """C = A B^T: the dot products of all rows of A with all rows of B; ``length`` is a multiple of ``WIDTH``."""
    r = 0
    while r + 2 <= rows:
        q = 0
        while q + 4 <= columns:
            _dots_2x4(a, a0 + r * a_row, a_row, b, b0 + q * b_row, b_row, c, c0 + r * c_row + q, c_row, length)
            q += 4
        while q < columns:
            _dots_2x1(a, a0 + r * a_row, a_row, b, b0 + q * b_row, b_row, c, c0 + r * c_row + q, c_row, length)
            q += 1
        r += 2
    if r < rows:
        for q in range(columns):
            _dots_1x1(a, a0 + r * a_row, a_row, b, b0 + q * b_row, b_row, c, c0 + r * c_row + q, c_row, length)
