"""The texts of the files: settings, a network of the user's own, a workflow of CI."""

import shlex
from collections.abc import Iterator
from pathlib import Path

from components.datasets.folder.names import readable
from components.datasets.folder.summary import summary
from components.policy import OPEN
from foundation.toml import toml
from gauntlet.project.fit import ASKED, EPSILON, Fit, too_few
from pipeline.definition.settings_text import comment
from pipeline.root.root import Root
from robustness.config import CheckName

NETWORK = '''\
"""A network of your own, in place of the built-in one: take the # away in front of

    # network = "network:small"

in gauntlet.toml. What is under [trainer] about filters, strides and the like then does nothing.
"""

import tf_keras


def small(image_shape, classes):
    """A tf_keras model from images in [0, 1] to logits: no softmax at the end.

    image_shape: height, width, channels. classes: number of labels.
    """
    layers = tf_keras.layers
    image = tf_keras.Input(image_shape)
    x = layers.Conv2D(32, 3, strides=2, padding="same", activation="relu")(image)
    x = layers.Conv2D(64, 3, strides=2, padding="same", activation="relu")(x)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dense(64, activation="relu")(x)
    return tf_keras.Model(image, layers.Dense(classes)(x))
'''

WORKFLOW = """\
# A model that does not pass the gates fails the build: `gauntlet check` ends with 0 where it passed
# and with 3 where it was refused.
name: gauntlet
on: [push, pull_request]

env:
  GAUNTLET_REPOSITORY: OWNER/gauntlet # put the repository of your copy of Gauntlet here
  # What `gauntlet run` pushes, if it lies in the repository; or your own .keras, .h5 or .onnx file.
  MODEL: {model}

jobs:
  gates:
    runs-on: ubuntu-24.04
    timeout-minutes: 60
    steps:
      - uses: actions/checkout@v4
      - uses: actions/checkout@v4
        with:
          repository: ${{{{ env.GAUNTLET_REPOSITORY }}}}
          path: .gauntlet
      - uses: actions/setup-python@v5
        with:
          python-version: "3.11"
      - uses: actions/cache@v4
        with:
          path: .gauntlet/.venv
          key: gauntlet-${{{{ hashFiles('.gauntlet/requirements.lock') }}}}
      - run: make -C .gauntlet install
      # Data, epsilon and gates are those of gauntlet.toml. --min-clean asks for no more than
      # guessing does: take it out once there is a bound in [gates], below which it is refused.
      - run: |
          .gauntlet/.venv/bin/{check} \\
            --junit gates.xml --github
      - uses: actions/upload-artifact@v4
        if: always()
        with:
          name: gates
          path: gates.xml
"""


def settings(fit: Fit, dataset: str) -> str:
    """gauntlet.toml. dataset: path of the folder, as the file shall have it."""
    return "\n\n".join("\n".join(part) for part in _parts(fit, dataset)) + "\n"


def check_command(fit: Fit, root: str, model: str = "") -> str:
    """The command that judges a model, where the settings lie. root: of the runs. model: the one
    that is pushed there, if ''."""
    bound = ["--min-clean", f"{fit.least:g}", "--output", str(Root(Path(root)).evaluations)]
    return shlex.join(["gauntlet", "check", model or f"{root}/serving", *bound])


def workflow(fit: Fit, root: str) -> str:
    """.github/workflows/gauntlet.yml, which judges a model that lies in the repository."""
    check = check_command(fit, root, "MODEL").replace(" MODEL ", ' "$MODEL" ')
    return WORKFLOW.format(model=f"{root}/serving", check=check)


def _parts(fit: Fit, dataset: str) -> Iterator[list[str]]:
    yield [*_head(fit, dataset), 'preset = "tutorial"', "seed = 0"]
    yield ["[data]", *_data(fit, dataset)]
    yield [comment("Devices, network and optimisation."), "[trainer]", *_trainer(fit)]
    yield [
        comment("The robust model is trained on images that three steps of PGD have attacked."),
        "[recipe]",
        'name = "pgd"',
        "attack_steps = 3",
        "ramp = 0.3  # part of the training in which the attack grows to its full size",
    ]
    yield [
        comment("8/255, at which photographs are usually judged: 8 of 255 grey levels."),
        "[threat]",
        f"epsilon = {toml(EPSILON)}",
    ]
    yield [
        comment("Minutes; autoattack is the published suite in full strength, and takes longer."),
        "[attack]",
        'suite = "fast"',
        "names = []",
        "checks = true  # look for signs that a number is fake",
    ]
    yield ["[gates]", *_gates(fit)]
    yield [
        comment(
            "A preset of your own, for a first look: it sees a part of the training images only. "
            "Take the # away in front of the four lines, then `gauntlet run --preset quick --root "
            "runs-quick`."
        ),
        "# [presets.quick]",
        '# preset = "tutorial"',
        "# [presets.quick.data]",
        f"# train = {toml(f'train[:{fit.few}]')}",
    ]


def _head(fit: Fit, dataset: str) -> Iterator[str]:
    yield comment(
        "Settings of Gauntlet. Where this file lies, `gauntlet run`, `gates`, `config` and "
        "`compile` read it by themselves, and `check` and `evaluate` what concerns them. `gauntlet "
        "config` shows all settings, `gauntlet config explain NAME` says what one means. What is "
        "not here is as in the preset."
    )
    yield "#"
    root = readable(fit.images.root)  # which is another one on the machine of a colleague
    yield from (f"# {line.replace(root, readable(dataset), 1)}" for line in summary(fit.images))
    yield comment("Shape, classes and splits are looked up in the folder by each run.")


def _data(fit: Fit, dataset: str) -> Iterator[str]:
    yield f"dataset = {toml(dataset)}"
    if fit.images.resize:
        yield comment("Height and width to which all images are brought.")
        yield f"resize = {toml(list(fit.images.resize))}"


def _trainer(fit: Fit) -> Iterator[str]:
    yield comment("A network of your own in place of the built-in one: see network.py.")
    yield '# network = "network:small"'
    yield comment(f"Convolutions whose steps bring {_shape(fit)} down, then a dense layer.")
    yield f"filters = {toml(list(fit.filters))}"
    yield "kernel_size = [3]"
    yield f"stride = {toml(list(fit.stride))}"
    yield 'padding = "same"'
    yield "pool_size = 1"
    yield "dense = [128]"
    yield comment(f"For {fit.training_images:,} training images.")
    yield f"batch_size = {fit.batch_size}"
    yield f"epochs = {fit.epochs}"
    yield 'schedule = "cosine"'


def _gates(fit: Fit) -> Iterator[str]:
    yield comment(
        "In a run these report and refuse nothing, except a model that is worse than the served "
        "one; `gauntlet check` also asks the honesty checks. Once you know what your model "
        "reaches, write bounds. Those in the comments are examples, which nobody has measured on "
        "your images. A share is judged on the lower end of its exact 95 % interval."
    )
    for name, said in (
        ("clean", "right without an attack"),
        ("worst_case", "right under every attack"),
        ("worst_class", "the same in the worst class"),
    ):
        yield f"# {name} = {getattr(ASKED, name):g}  # {said}"
        yield f"{name} = {toml(getattr(OPEN, name))}"
    yield "transfer_fgsm = 0.0"
    yield f"champion = {ASKED.champion:g}  # no worse than the served model, at this significance"
    yield comment(f"checks = {toml(list(CheckName))}")
    yield "checks = []"
    yield from (comment(f"Too few test images for {reason}") for reason in too_few(fit.images))


def _shape(fit: Fit) -> str:
    return " x ".join(map(str, fit.images.image_shape[:2]))
