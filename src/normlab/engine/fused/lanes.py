"""Numbers that stand for several replicas at once: lane ``l`` of every number belongs to replica ``l``.

The kernel is written as if for one replica. Each of its numbers fills one vector register with the values of as
many replicas as fit, and no instruction mixes two lanes: a replica's result cannot depend on the others. Nothing is
left to the compiler's vectorizer, so nothing is reordered, and NaN and infinity behave as IEEE 754 says.

All numbers of a group of replicas lie in one array, the memory; number ``i`` is its elements ``i * W`` to
``i * W + W - 1``, where W is ``lanes(dtype)``.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba import types
from numba.core import cgutils
from numba.core.datamodel.models import PrimitiveModel
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, register_model

from normlab.engine.fused.jit import inlined

VECTOR_BYTES = 64 if get_host_cpu_features().get("avx512f") else 32  # a lane's results are the same in any width
CONTRACT = ("contract",)  # a product and a sum may become one fused operation


def lanes(dtype: Any) -> int:
    """How many replicas share a number: as many as fill a vector register of this processor.

    >>> lanes("float32") == 2 * lanes("float64") in (8, 16)
    True
    """
    return VECTOR_BYTES // int(np.dtype(dtype).itemsize)


class Lanes(types.Type):
    """The type of such a number, known to Numba."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        super().__init__(name=f"Lanes({dtype})")


def vector_of(context: Any, dtype: Any) -> ir.VectorType:
    """The register that holds one number."""
    return ir.VectorType(context.get_data_type(dtype), 8 * VECTOR_BYTES // dtype.bitwidth)


@register_model(Lanes)
class _Model(PrimitiveModel):
    def __init__(self, manager: Any, kind: Lanes) -> None:
        element = ir.FloatType() if kind.dtype == types.float32 else ir.DoubleType()
        super().__init__(manager, kind, ir.VectorType(element, 8 * VECTOR_BYTES // kind.dtype.bitwidth))


def spread(builder: Any, value: Any, vector: ir.VectorType) -> Any:
    """A register with ``value`` in every lane."""
    nothing = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(nothing, value, ir.IntType(32)(0))
    return builder.shuffle_vector(first, nothing, ir.Constant(ir.VectorType(ir.IntType(32), vector.count), None))


def address(context: Any, builder: Any, kind: Any, memory: Any, index: Any) -> Any:
    """Where number ``index`` lies."""
    vector = vector_of(context, kind.dtype)
    data = builder.bitcast(context.make_array(kind)(context, builder, memory).data, vector.as_pointer())
    return builder.gep(data, [index])


class _Arithmetic(AbstractTemplate):
    """Numbers with numbers, or with a scalar that then counts for every lane."""

    def generic(self, args: Any, _: Any) -> Any:
        kinds = [kind for kind in args if isinstance(kind, Lanes)]
        if len(args) != 2 or not kinds or not all(isinstance(k, Lanes | types.Number) for k in args):
            return None
        return signature(kinds[0], *args)


def _lower(operation: Any, instruction: str) -> None:
    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vector = vector_of(context, sig.return_type.dtype)
        both = [
            value
            if isinstance(kind, Lanes)
            else spread(builder, context.cast(builder, value, kind, sig.return_type.dtype), vector)
            for kind, value in zip(sig.args, args, strict=True)
        ]
        return getattr(builder, instruction)(*both, flags=CONTRACT)

    infer_global(operation)(_Arithmetic)
    for left, right in ((Lanes, Lanes), (Lanes, types.Number), (types.Number, Lanes)):
        lower_builtin(operation, left, right)(code)


for _instruction, _operations in (
    ("fadd", (operator.add, operator.iadd)),
    ("fsub", (operator.sub, operator.isub)),
    ("fmul", (operator.mul, operator.imul)),
    ("fdiv", (operator.truediv, operator.itruediv)),
):
    for _operation in _operations:
        _lower(_operation, _instruction)


@intrinsic
def load(_: Any, memory: Any, index: Any) -> Any:
    """Number ``index``."""

    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.load(address(context, builder, sig.args[0], *args), align=VECTOR_BYTES)

    return Lanes(memory.dtype)(memory, types.int64), code


@intrinsic
def store(_: Any, memory: Any, index: Any, number: Any) -> Any:
    """Number ``index`` becomes ``number``."""

    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        builder.store(args[2], address(context, builder, sig.args[0], *args[:2]), align=VECTOR_BYTES)
        return context.get_dummy_value()

    return types.void(memory, types.int64, number), code


@intrinsic
def every(_: Any, memory: Any, scalar: Any) -> Any:
    """A number that is ``scalar`` in every lane."""

    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        dtype = sig.args[0].dtype
        return spread(builder, context.cast(builder, args[1], sig.args[1], dtype), vector_of(context, dtype))

    return Lanes(memory.dtype)(memory, scalar), code


@intrinsic
def where_greater(_: Any, x: Any, y: Any, yes: Any, no: Any) -> Any:
    """``yes`` where x > y, else ``no``; also where x or y is NaN."""

    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.select(builder.fcmp_ordered(">", args[0], args[1]), args[2], args[3])

    return x(x, x, x, x), code


@intrinsic
def sqrt(_: Any, x: Any) -> Any:
    """The square root."""

    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vector = args[0].type
        name = f"llvm.sqrt.v{vector.count}f{8 * VECTOR_BYTES // vector.count}"
        root = cgutils.get_or_insert_function(builder.module, ir.FunctionType(vector, [vector]), name)
        return builder.call(root, args)

    return x(x), code


@intrinsic
def _two_to_the(_: Any, shifted: Any) -> Any:
    """2^n from ``n + magic``, whose lowest bits hold n."""

    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vector = args[0].type
        bits = 8 * VECTOR_BYTES // vector.count
        whole = ir.VectorType(ir.IntType(bits), vector.count)
        fraction = 23 if bits == 32 else 52
        one = 127 << 23 if bits == 32 else 1023 << 52
        exponent = builder.shl(builder.bitcast(args[0], whole), ir.Constant(whole, [fraction] * vector.count))
        return builder.bitcast(builder.add(exponent, ir.Constant(whole, [one] * vector.count)), vector)

    return shifted(shifted), code


@intrinsic
def _constants(_: Any, x: Any) -> Any:
    """Shift for rounding, ln 2 in two parts, and the least and greatest argument of ``exp``."""
    single = x.dtype == types.float32
    values = (
        (1.5 * 2.0**23, 0.693359375, -2.12194440e-4, -87.0, 88.0)
        if single
        else (1.5 * 2.0**52, 6.93147180369123816490e-01, 1.90821492927058770002e-10, -708.0, 709.0)
    )

    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vector = args[0].type
        return context.make_tuple(
            builder, sig.return_type, [ir.Constant(vector, [value] * vector.count) for value in values]
        )

    return types.UniTuple(x, 5)(x), code


@inlined
def exp(x):
    """e^x by x = n ln 2 + r and the Taylor series of e^r, |r| <= ln(2)/2, to the 13th power."""
    magic, high, low, least, most = _constants(x)
    x = where_greater(least, x, least, x)
    x = where_greater(x, most, most, x)
    shifted = x * 1.4426950408889634 + magic
    n = shifted - magic
    r = x - n * high - n * low
    p = r * (1 / 6227020800) + (1 / 479001600)
    p = p * r + (1 / 39916800)
    p = p * r + (1 / 3628800)
    p = p * r + (1 / 362880)
    p = p * r + (1 / 40320)
    p = p * r + (1 / 5040)
    p = p * r + (1 / 720)
    p = p * r + (1 / 120)
    p = p * r + (1 / 24)
    p = p * r + (1 / 6)
    p = p * r + 0.5
    p = p * r + 1.0
    p = p * r + 1.0
    return p * _two_to_the(shifted)


def per_lane(function: Callable[[float], float]) -> Any:
    """``function`` of every lane of number ``index``, one after the other; gives the result and leaves it there."""

    @inlined
    def apply(memory, index):
        width = VECTOR_BYTES // memory.itemsize
        for k in range(index * width, index * width + width):
            memory[k] = function(memory[k])
        return load(memory, index)

    return apply
