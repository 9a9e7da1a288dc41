"""A store at gs://, by the fake of `fake_gcs`: test_on_gs.py runs this file inside of it."""

import json
import multiprocessing
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gs_players
import pytest
import tensorflow as tf
import tf_keras
from click.testing import CliRunner
from gs_players import half_versions, inside, listing

from components import pusher
from components.binding import agree
from components.bound import FILE, bind, read_terms, seen_in
from components.mandate import Mandate
from components.manifest import MANIFEST, verify
from components.records.shards import list_shards, read_shards, remove_partials, write_shard
from components.versions import CARD, Card, PushedBy, examined, list_versions, read_card
from foundation.errors import ConfigError, RunError
from foundation.versions import SAVED_MODEL, newest_version, numbers, versions
from gauntlet.cli import main
from pipeline.definition.presets import preset
from pipeline.definition.terms import terms_of
from trainer.checkpoints import Checkpoints, Progress

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["gs_players"])

ROUNDS = 12


@pytest.fixture
def base(request: pytest.FixtureRequest) -> str:
    """A folder of versions that no other test uses."""
    return f"gs://bucket/{request.node.name}/serving"


def model(folder: Path, answer: float) -> str:
    """An exported model of several files whose answer tells which one it is."""
    module = tf.Module()
    module.value = tf.Variable(answer)
    module.answer = tf.function(lambda: module.value.read_value(), input_signature=[])
    tf.saved_model.save(module, str(folder))
    (folder / "assets.extra").mkdir()
    (folder / "assets.extra" / "notes.json").write_text("{}")
    return str(folder)


def marked(folder: Path, mark: str) -> str:
    """Files as a model has them; the content of each says whose they are."""
    for name in (SAVED_MODEL, "fingerprint.pb", "variables/variables.index", "assets/words.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(mark)
    return str(folder)


def parts(source: str) -> set[str]:
    """All files of a pushed version of a model."""
    files = [path for path in Path(source).rglob("*") if path.is_file()]
    return {path.relative_to(source).as_posix() for path in files} | {CARD, MANIFEST}


def states(base: str) -> Iterator[set[str]]:
    """The names under a folder after each change that the store has ever seen, in order."""
    names: set[str] = set()
    history = Path(os.environ["FAKE_GCS"]) / "history.jsonl"
    for line in history.read_text().splitlines():
        change, name = json.loads(line)
        if name.startswith(f"{base}/"):
            relative = {name.removeprefix(f"{base}/")}
            names = names | relative if change == "write" else names - relative
            yield names


def test_shards_are_written_and_read(base: str) -> None:
    rows = [b"one", b"two" * 1000, b""]
    paths = [f"{base}/data_tfrecord-0000{i}-of-00002.gz" for i in range(2)]
    assert [write_shard(path, rows) for path in paths] == [3, 3]
    with tf.io.gfile.GFile(f"{paths[0]}.1.partial", "w") as file:
        file.write("killed")
    assert list_shards(base) == paths
    remove_partials(base)
    assert sorted(tf.io.gfile.listdir(base)) == [os.path.basename(path) for path in paths]
    assert list(read_shards(paths).as_numpy_iterator()) == rows * 2


def test_the_terms_of_a_store_lie_beside_its_versions(base: str, tmp_path: Path) -> None:
    digits, clothes = terms_of(preset("smoke")), terms_of(preset("fashion"))
    card = Card(model="a", terms=digits.plain())
    version = pusher.publish(marked(tmp_path / "model", "a"), base, card)
    before = seen_in(base)
    bind(base)
    assert read_terms(f"{base}/{FILE}") == digits
    assert versions(base) == [version]
    assert seen_in(base) != before
    with pytest.raises(ConfigError, match="the data set is fashion_mnist, not mnist"):
        agree(base, clothes, Mandate())


def test_a_failing_shard_leaves_nothing(base: str) -> None:
    def failing() -> Iterator[bytes]:
        yield b"one"
        raise ValueError("no more")

    write_shard(f"{base}/data_tfrecord-00000-of-00002", [b"whole"])
    with pytest.raises(ValueError, match="no more"):
        write_shard(f"{base}/data_tfrecord-00001-of-00002", failing())
    assert listing(base) == {"data_tfrecord-00000-of-00002"}


def test_checkpoints_are_saved_restored_and_discarded(base: str) -> None:
    def training() -> tuple[Any, Any, Checkpoints]:
        network, best = (tf_keras.Sequential([tf_keras.layers.Dense(2)]) for _ in range(2))
        network.build((None, 3))
        best.build((None, 3))
        optimizer = tf_keras.optimizers.Adam()
        optimizer.build(network.trainable_variables)
        return network, best, Checkpoints(base, network, optimizer, best)

    network, best, checkpoints = training()
    progress = Progress()
    for epoch, score in enumerate([0.5, 0.9, 0.7], start=1):
        network.set_weights([weight * 0 + epoch for weight in network.get_weights()])
        progress = progress.after({"clean": score}, score, selected=True)
        if progress.best_epoch == epoch:
            best.set_weights(network.get_weights())
        checkpoints.save(progress)
    assert not {name for name in listing(base) if name.startswith(("epoch-1", "epoch-2", "best-1"))}

    network, best, checkpoints = training()
    assert checkpoints.restore() == progress
    assert network.get_weights()[0][0, 0] == 3
    checkpoints.restore_best(progress)
    assert best.get_weights()[0][0, 0] == 2
    checkpoints.discard()
    assert not tf.io.gfile.exists(f"{base}/state.json")
    assert checkpoints.restore() == Progress()


def test_beam_writes_and_reads_records(base: str, in_memory_beam: None) -> None:
    import apache_beam as beam
    from apache_beam.testing.util import assert_that, equal_to

    with beam.Pipeline() as pipeline:
        rows = pipeline | beam.Create([b"one", b"two"])
        _ = rows | beam.io.WriteToTFRecord(f"{base}/out", file_name_suffix=".gz")
    with beam.Pipeline() as pipeline:
        assert_that(pipeline | beam.io.ReadFromTFRecord(f"{base}/out*"), equal_to([b"one", b"two"]))


def test_a_reader_sees_whole_versions_only(base: str, tmp_path: Path) -> None:
    """Another process lists and loads all the time; and no state of the store in between had a part
    of a version."""
    sources = [model(tmp_path / str(i), float(i)) for i in range(4)]
    first = pusher.publish(sources[0], base, Card(model="0"))
    ready, done, seen = PROCESSES.Event(), PROCESSES.Event(), PROCESSES.Queue()
    watcher = PROCESSES.Process(
        target=gs_players.watch, args=(base, parts(sources[0]), ready, done, seen), daemon=True
    )
    watcher.start()
    assert ready.wait(90)
    pushed = [first, *(pusher.publish(source, base, Card(model=source)) for source in sources[1:])]
    done.set()
    loaded, wrong, looks = seen.get(timeout=60)
    assert loaded == {number: float(i) for i, number in enumerate(pushed)}
    assert wrong == []
    assert looks > len(pushed)
    changes = list(states(base))
    assert len(changes) > 4 * len(parts(sources[0]))
    assert [half_versions(names, parts(sources[0])) for names in changes] == [[]] * len(changes)


def test_a_pushed_version_is_what_was_exported_and_nothing_else(base: str, tmp_path: Path) -> None:
    source = model(tmp_path / "model", 1.0)
    version = pusher.publish(source, base, Card(model="one"))
    assert listing(base) == {f"{version}/{part}" for part in parts(source)}
    card = read_card(f"{base}/{version}")
    assert (card.model, verify(f"{base}/{version}", card.manifest_sha256)) == ("one", [])
    with tf.io.gfile.GFile(f"{base}/{version}/assets/more.txt", "w") as file:
        file.write("by hand")
    assert [version.damaged for version in examined(base)] == [True]


def test_two_pushers_never_mix(base: str, tmp_path: Path) -> None:
    """Each round both push at one moment, and each version has the files of one of them."""
    sources = {
        name: [marked(tmp_path / name / str(i), f"{name}{i}") for i in range(ROUNDS)]
        for name in ("left", "right")
    }
    together, pushed = PROCESSES.Barrier(2), PROCESSES.Queue()
    players = [
        PROCESSES.Process(
            target=gs_players.push_in_rounds, args=(own, base, name, together, pushed), daemon=True
        )
        for name, own in sources.items()
    ]
    for player in players:
        player.start()
    taken = [number for _ in players for number in pushed.get(timeout=200)]
    assert len(set(taken)) == 2 * ROUNDS
    assert sorted(taken, key=int) == versions(base)
    whole = parts(sources["left"][0])
    assert listing(base) == {f"{number}/{part}" for number in taken for part in whole}
    marks = []
    for version in versions(base):
        files = [f"{base}/{version}/{part}" for part in whole - {CARD, MANIFEST}]
        (mark,) = {tf.io.gfile.GFile(path).read() for path in files}
        assert mark.startswith(read_card(f"{base}/{version}").model)
        marks.append(mark)
    assert len(set(marks)) == 2 * ROUNDS
    assert not any(half_versions(names, whole) for names in states(base))


@pytest.mark.parametrize(
    ("call", "before"),
    [("copy", 2), ("rename", 0), ("rename", 3), ("rename", 5)],
    ids=["staging", "claimed", "half", "all-but-the-last"],
)
def test_a_killed_push_leaves_no_version(base: str, tmp_path: Path, call: str, before: int) -> None:
    old = pusher.publish(marked(tmp_path / "old", "old"), base, Card(model="old"))
    source = marked(tmp_path / "killed", "killed")
    assert len(parts(source)) == 6  # the renames that a push takes
    dying = PROCESSES.Process(target=gs_players.die_pushing, args=(source, base, call, before))
    dying.start()
    dying.join(60)
    assert dying.exitcode == -signal.SIGKILL
    assert versions(base) == [old]
    assert newest_version(base) == old
    left = numbers(base)
    assert len(left) == (2 if call == "rename" else 1)
    new = pusher.publish(marked(tmp_path / "new", "new"), base, Card(model="new"))
    assert versions(base) == [old, new]
    assert int(new) > int(left[-1])
    assert inside(listing(base), new) == parts(source)


def test_a_failed_push_is_removed_again(
    base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the last file did arrive: then it is the first that goes."""
    old = pusher.publish(marked(tmp_path / "old", "old"), base, Card(model="old"))
    before, rename = listing(base), pusher.fileio.rename

    def failing(one: str, other: str, overwrite: bool = False) -> None:
        rename(one, other, overwrite)
        if other.endswith(SAVED_MODEL):
            raise OSError("the connection was lost")

    monkeypatch.setattr(pusher.fileio, "rename", failing)
    source = marked(tmp_path / "new", "new")
    with pytest.raises(RunError, match="the connection was lost; nothing was changed there"):
        pusher.publish(source, base, Card(model="new"))
    assert listing(base) == before
    assert versions(base) == [old]
    assert not any(half_versions(names, parts(source)) for names in states(base))


def test_what_cannot_be_removed_again_is_said(
    base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: Any, **__: Any) -> None:
        raise OSError("the connection was lost")

    monkeypatch.setattr(pusher.fileio, "rename", failing)
    monkeypatch.setattr(pusher.fileio, "remove", failing)
    said = r"could not be pushed.*; not all could be removed again: .*/claim-.*: the connection"
    with pytest.raises(RunError, match=said):
        pusher.publish(marked(tmp_path / "new", "new"), base, Card(model="new"))
    assert versions(base) == []


def test_an_earlier_version_is_served_again(base: str, tmp_path: Path) -> None:
    first = pusher.publish(model(tmp_path / "1", 1.0), base, Card(model="1", clean=0.9))
    pusher.publish(model(tmp_path / "2", 2.0), base, Card(model="2"))
    back = Card(model="1", clean=0.9, kind=PushedBy.ROLLBACK, of=first)
    third = pusher.publish(f"{base}/{first}", base, back)
    listed = list_versions(base)
    assert [(version.card.model, version.serving) for version in listed] == [
        ("1", False), ("2", False), ("1", True),
    ]  # fmt: skip
    assert (listed[-1].card.of, listed[-1].card.clean, newest_version(base)) == (first, 0.9, third)
    assert float(tf.saved_model.load(f"{base}/{third}").answer().numpy()) == 1.0


def test_the_commands_list_a_store_and_go_back(base: str, tmp_path: Path) -> None:
    """As a person would, who has no root here."""
    store = ["--store", base.removesuffix("/serving")]
    first = pusher.publish(model(tmp_path / "1", 1.0), base, Card(model="1", clean=0.9))
    pusher.publish(model(tmp_path / "2", 2.0), base, Card(model="2", clean=0.8))
    back = CliRunner().invoke(main, ["rollback", *store, "--reason", "slow"])
    assert back.exit_code == 0, back.output
    listed = CliRunner().invoke(main, ["models", *store, "--json", str(tmp_path / "list.json")])
    assert listed.exit_code == 0, listed.output
    versions = json.loads((tmp_path / "list.json").read_text())["versions"]
    assert [(each["model"], each["clean"]) for each in versions] == [
        ("1", 0.9),
        ("2", 0.8),
        ("1", 0.9),
    ]
    assert (versions[2]["of"], versions[2]["reason"]) == (first, "slow")
    assert "slow" in listed.output
