"""Replaces what a module of somebody else's exports, and puts it back."""
from __future__ import annotations

import sys
import types
from typing import Any, Iterable, Mapping


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


def loaded_modules(*packages: str) -> list[types.ModuleType]:
    """Modules of these packages that are imported."""
    return [module for name, module in sorted(sys.modules.items())
            if name.split(".")[0] in packages and isinstance(module, types.ModuleType)]


def replace(replacements: Mapping[str, Any], modules: Iterable[types.ModuleType]) -> Patch:
    """Replaces the attributes of these names in the modules that have them; ValueError where none does.

    An attribute that is replaced already is left to the Patch that did so.
    """
    modules = list(modules)
    found = [(module, name, vars(module)[name]) for module in modules for name in replacements if name in vars(module)]
    if not found:
        raise ValueError(f"{', '.join(module.__name__ for module in modules)} has none of {', '.join(replacements)}")
    replaced = [(module, name, before) for module, name, before in found if before is not replacements[name]]
    for module, name, _ in replaced:
        setattr(module, name, replacements[name])
    return Patch(replaced)
