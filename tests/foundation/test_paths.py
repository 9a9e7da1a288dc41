"""No path is a pattern: folders that look like one are refused, or opened under another name."""

from pathlib import Path

import pytest
import tensorflow as tf

from foundation.errors import ConfigError
from foundation.paths import check_no_pattern, plain_path


class Times(tf.Module):
    """Multiplies by a number that stands in the variables' file."""

    def __init__(self, value: float) -> None:
        self.value = tf.Variable([value])

    @tf.function(input_signature=[tf.TensorSpec([1])])
    def times(self, x: tf.Tensor) -> tf.Tensor:
        return x * self.value


@pytest.mark.parametrize("letter", list("[]*?\\"))
def test_a_folder_that_looks_like_a_pattern_is_refused(letter: str) -> None:
    with pytest.raises(ConfigError) as error:
        check_no_pattern("--root", f"/data/w{letter}y/runs")
    assert str(error.value) == (
        f"--root /data/w{letter}y/runs: TensorFlow and Beam take {letter!r} in a path for a "
        "pattern, and would read the files of other folders, or none; name a folder without [ ] * "
        "? and \\"
    )


@pytest.mark.parametrize("name", ["my runs", "Größe", "猫", "a'b", 'a"b', "{x}", "a,b", "%s", "$X"])
def test_what_is_no_pattern_is_taken_and_found(name: str, tmp_path: Path) -> None:
    """Neither TensorFlow nor we see anything special in it."""
    check_no_pattern("--root", tmp_path / name)
    (tmp_path / name).mkdir()
    (tmp_path / name / "file").touch()
    assert tf.io.gfile.glob(f"{tmp_path}/{name}/*") == [f"{tmp_path}/{name}/file"]
    assert plain_path(tmp_path / name) == tmp_path / name


@pytest.mark.parametrize("others", [(), ("m1", "mQy", "md")], ids=["alone", "among others"])
@pytest.mark.parametrize("name", ["m[1]", "m*y", "m?", "m\\d"])
def test_a_model_of_such_a_name_is_opened_and_no_other(
    name: str, others: tuple[str, ...], tmp_path: Path
) -> None:
    """Alone, `m[1]` would not be found at all."""
    for folder, value in ((name, 1.0), *((other, 2.0) for other in others)):
        tf.saved_model.save(Times(value), str(tmp_path / "saved"))
        (tmp_path / "saved").rename(tmp_path / folder)
    opened = plain_path(tmp_path / name)
    assert opened.resolve() == tmp_path / name
    loaded = tf.saved_model.load(str(opened))
    assert loaded.times(tf.ones([1])).numpy() == [1.0]


def test_a_file_keeps_its_ending(tmp_path: Path) -> None:
    file = tmp_path / "net[2].keras"
    file.write_bytes(b"x")
    assert plain_path(file).name == "net_2_.keras"
    assert plain_path(file).read_bytes() == b"x"
