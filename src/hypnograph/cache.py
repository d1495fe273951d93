"""Where lies what can be made or fetched again."""

import os
import sys
from pathlib import Path


def cache_folder() -> Path:
    """Return the folder: ``$HYPNOGRAPH_CACHE``, else ``$XDG_CACHE_HOME/hypnograph``, else the system's own place."""
    if given := os.environ.get("HYPNOGRAPH_CACHE"):
        return Path(given).expanduser()
    home = Path.home()
    usual = {
        "darwin": home / "Library" / "Caches",
        "win32": Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local"),
    }
    return Path(os.environ.get("XDG_CACHE_HOME") or usual.get(sys.platform, home / ".cache")) / "hypnograph"
