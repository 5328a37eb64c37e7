"""Arrays that compiled code looks at without counting references.

numba counts a reference (an atomic operation, some 6 ns) for every array that is handed to a function which
is not inlined, and a bar that is walked hands on twenty. A borrowed array is not counted; whoever borrows
must keep the original until it is done, as the arguments of a compiled function are.
"""

from __future__ import annotations

from typing import Any

from numba import config
from numba.core import cgutils, types
from numba.core.typing.templates import Signature
from numba.extending import intrinsic


def _itself(array: Any) -> Any:
    return array


@intrinsic
def _uncounted(typing_context: Any, array: Any) -> tuple[Signature, Any] | None:
    """The same array, not counted."""
    if not isinstance(array, types.Array):
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        view = context.make_array(array)(context, builder, arguments[0])
        view.meminfo = cgutils.get_null_value(view.meminfo.type)
        return view._getvalue()

    return array(array), generate


borrowed = _itself if config.DISABLE_JIT else _uncounted
