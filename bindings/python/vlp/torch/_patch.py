"""Replaces what a module of somebody else's exports, and puts it back."""
from __future__ import annotations

import sys
import types
from typing import Any, Mapping


class Patch:
    """Attributes of modules that were replaced. `restore()`, or the end of a `with` block, puts back what was there."""

    def __init__(self, replaced: list[tuple[types.ModuleType, str, Any]]) -> None:
        self.replaced = replaced  # module, attribute, what was there

    def restore(self) -> None:
        """Puts back what was there. A second time does nothing."""
        while self.replaced:
            setattr(*self.replaced.pop())

    def __enter__(self) -> Patch:
        return self

    def __exit__(self, *failure: object) -> None:
        self.restore()


def replace(replacements: Mapping[str, Any], home: types.ModuleType) -> Patch:
    """Replaces what `home` has by these names, there and in every module that has imported it by the same name.

    Attributes that are replaced already are left to the Patch that did so. ValueError where `home` has none of the names.
    """
    originals = {name: vars(home)[name] for name in replacements if name in vars(home)}
    if not originals:
        raise ValueError(f"{home.__name__} has none of {', '.join(replacements)}")
    loaded = [one for one in list(sys.modules.values()) if isinstance(one, types.ModuleType) and one is not home]
    replaced = [(module, name, original) for module in (home, *loaded) for name, original in originals.items()
                if vars(module).get(name) is original is not replacements[name]]
    for module, name, _ in replaced:
        setattr(module, name, replacements[name])
    return Patch(replaced)
