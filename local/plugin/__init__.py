"""What MiniStack lacks, added through its own registries.

Every module in this package that has an ``install() -> None`` is part of the plug-in.
"""

import importlib
import pkgutil


def install() -> None:
    """Install every module of the plug-in into the MiniStack of this process."""
    for found in sorted(pkgutil.iter_modules(__path__), key=lambda module: module.name):
        module = importlib.import_module(f"{__name__}.{found.name}")
        if hasattr(module, "install"):
            module.install()
