"""A function for each loss of the library, for faces that call losses by name."""
from __future__ import annotations

import collections
import functools
import inspect
from typing import Any, Callable, Sequence

from ._arguments import Arguments
from ._documentation import docstring
from ._library import Loss, library


@functools.cache
def result_type(loss: str, names: tuple[str, ...]) -> Callable[..., Any]:
    """The named tuple of what a call of a loss returns beside its value."""
    return collections.namedtuple("".join(part.capitalize() for part in loss.split("_")) + "Result", names)


def functions(module: str, compute: Callable[[Arguments, tuple[Any, ...], dict[str, Any]], Any],
              face: Sequence[inspect.Parameter], array: Any, further: str) -> dict[str, Callable[..., Any]]:
    """Functions by the losses' names, with signatures and documentation of their own.

    `compute` does the work, given what is known of the arguments, inputs in order and the rest by name. `face` are the
    keywords that the module adds to a loss's own, `array` what it calls arrays, and `further` what it says of both.
    """
    def function_of(loss: Loss) -> Callable[..., Any]:
        arguments = Arguments(module, loss, face, array)

        def function(*inputs: Any, **named: Any) -> Any:
            return compute(arguments, inputs, named)

        function.__name__ = function.__qualname__ = loss.name
        function.__module__ = module
        function.__doc__ = docstring(loss, further)
        function.__signature__ = arguments.signature
        return function

    return {name: function_of(loss) for name, loss in library().losses.items()}
