"""Numbered versions of a model in one folder, of which TensorFlow Serving takes the highest.

Read without TensorFlow; on an object store it needs TensorFlow's or fsspec's access to that.
"""

from etils import epath


def versions(base: str) -> list[str]:
    """The numbered folders, oldest first; none where there is no such folder."""
    folder = epath.Path(base)
    names = [entry.name for entry in folder.iterdir()] if folder.exists() else []
    return sorted((name for name in names if name.isdigit()), key=int)


def newest_version(base: str) -> str | None:
    """The version that is served; None where there is none."""
    return next(reversed(versions(base)), None)
