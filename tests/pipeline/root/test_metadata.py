"""What a root of an earlier version keeps elsewhere."""

from pathlib import Path

from ml_metadata.proto import metadata_store_pb2 as mlmd

from components.spans import STATISTICS, newest_accepted
from pipeline.root.metadata import ACCEPTED, keep_spans
from pipeline.root.root import Root


def accepted(root: Root, span: int, content: str) -> Path:
    """Statistics as an earlier AnomalyGate accepted them: an artifact of a type of its own."""
    with root.metadata() as store:
        kind = mlmd.ArtifactType(name=ACCEPTED)
        type_id = store.put_artifact_type(kind, can_add_fields=True)
        folder = root.artifacts / "AnomalyGate" / "accepted" / content
        folder.mkdir(parents=True)
        (folder / STATISTICS).write_text(content)
        made = mlmd.Artifact(type_id=type_id, uri=str(folder))
        made.custom_properties["span"].int_value = span
        store.put_artifacts([made])
    return folder


def test_spans_that_an_earlier_version_accepted_are_compared_with(tmp_path: Path) -> None:
    root = Root(tmp_path)
    for span, content in ((1, "one"), (2, "two"), (0, "data without spans")):
        accepted(root, span, content)
    gone = accepted(root, 5, "removed by hand")
    (gone / STATISTICS).unlink()
    gone.rmdir()
    for _ in range(2):  # what is there already is left alone
        with root.metadata() as store:
            keep_spans(store, str(root.spans))
    found = {
        before: newest_accepted(str(root.spans), before).removeprefix(f"{root.spans}/")
        for before in (1, 2, 9)
    }
    assert [each.partition("/")[0] for each in found.values()] == ["", "1", "2"]
    assert (root.spans / found[9] / STATISTICS).read_text() == "two"
    assert sorted(path.name for path in root.spans.iterdir()) == ["1", "2"]


def test_a_new_root_has_none(tmp_path: Path) -> None:
    root = Root(tmp_path)
    with root.metadata() as store:
        keep_spans(store, str(root.spans))
    assert not root.spans.exists()
