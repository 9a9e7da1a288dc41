"""What is taken of a folder and what is not, in sentences."""

from collections import Counter
from statistics import median

from components.datasets.folder import spans
from components.datasets.folder.names import readable
from components.datasets.image_folder import ImageFolder, class_of

LISTED = 10
"""Up to so many classes are shown one by one."""


def summary(folder: ImageFolder) -> list[str]:
    """Lines that tell of a folder before anything is prepared of it."""
    height, width, channels = folder.image_shape
    formats = ", ".join(f"{count:,} {name}" for name, count in folder.formats.items())
    kind = "grey" if channels == 1 else "RGB"
    lines = [
        f"{readable(folder.root)}: {kind} images of {height} x {width} (height x width), "
        f"{len(folder.classes)} classes; {formats}"
    ]
    if span := spans.note(folder.root):
        lines.append(f"  {span}")
    if folder.resize and set(folder.sizes) != {folder.resize}:
        lines.append(f"  resized to {height} x {width}: {_sizes(folder)}")
    lines += [f"  {_split(folder, split)}" for split in folder.files]
    lines += [f"  note: {note}" for note in _notes(folder)]
    return lines


def _sizes(folder: ImageFolder) -> str:
    shown = [f"{n:,} of {size[0]} x {size[1]}" for size, n in list(folder.sizes.items())[:3]]
    return ", ".join(shown) + (
        f", {len(folder.sizes)} sizes in all" if len(folder.sizes) > 3 else ""
    )


def _split(folder: ImageFolder, split: str) -> str:
    counts = Counter(map(class_of, folder.files[split]))
    begin = f"{split}: {len(folder.files[split]):,} images"
    if len(counts) <= LISTED:
        return f"{begin}: " + ", ".join(
            f"{counts[name]:,} {readable(name)}" for name in folder.classes if name in counts
        )
    (most, top), *_, (least, bottom) = counts.most_common()
    return (
        f"{begin} in {len(counts)} classes, {median(counts.values()):g} in the median; fewest "
        f"{bottom:,} ({readable(least)}), most {top:,} ({readable(most)})"
    )


def _notes(folder: ImageFolder) -> list[str]:
    used = {"train", "test", folder.held_out}
    notes = []
    for split, names in folder.files.items():
        if missing := [c for c in folder.classes if c not in set(map(class_of, names))]:
            shown = ", ".join(map(readable, missing[:LISTED]))
            notes.append(f"classes without images in {split}: {len(missing)} ({shown})")
        if split not in used:
            notes.append(f"images in {split}, a split that no run uses: {len(names):,}")
    return notes + [
        f"files not used, {reason}: {unused}" for reason, unused in folder.unused.items()
    ]
