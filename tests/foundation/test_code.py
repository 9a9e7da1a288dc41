"""Keys of our own code: what is in them, against other readers of imports, and what an edit does to
them."""

import ast
import json
import shutil
import subprocess
import sys
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import packages_distributions
from pathlib import Path

import grimp
import pytest

from foundation import code
from foundation.code import OURS, STACK, code_of, modules_of

ROOT = Path(code.__file__).parents[1]
INGESTION = "components.tfds_example_gen.component"
EVALUATOR = "components.evaluator.component"
SERVING_CHECK = "components.serving_check.component"
NODES = (
    "components.adversarial_example_gen.component",
    "components.anomaly_gate",
    "components.champion_challenge.component",
    "components.curated_schema",
    EVALUATOR,
    "components.pusher",
    SERVING_CHECK,
    INGESTION,
    "components.tuner",
    "trainer.preprocessing",
    "trainer.train",
    "trainer.tuning",
)
SUPPORT = (
    "etils",
    "google",
    "google_crc32c",
    "jaxtyping",
    "onnx",
    "requests",
    "tensorflow_metadata",
    "tensorflow_serving",
    "urllib3",
)
"""What nodes import besides the stack: it carries data, and computes nothing."""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the user's own modules, where the command is run."""
    files = {
        "mine/__init__.py": "",
        "mine/nets.py": "import tensorflow\nfrom mine.layers import dense\nfrom . import blocks",
        "mine/layers.py": "def dense():\n    import mine.sizes",
        "mine/blocks.py": "from .norms import *",
        "mine/norms.py": "import beside",
        "mine/sizes.py": "from foundation.seeds import image_seeds",
        "mine/unrelated.py": "import mine.nets",
        "beside.py": "",
    }
    for name, source in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(source)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_all_that_a_users_module_needs_of_the_users_own_is_found(mine: Path) -> None:
    found = modules_of("mine.nets")
    assert {
        name: path.relative_to(mine) for name, path in found.items() if path.is_relative_to(mine)
    } == {
        "mine": Path("mine/__init__.py"),
        "mine.nets": Path("mine/nets.py"),
        "mine.layers": Path("mine/layers.py"),
        "mine.blocks": Path("mine/blocks.py"),
        "mine.norms": Path("mine/norms.py"),
        "mine.sizes": Path("mine/sizes.py"),
        "beside": Path("beside.py"),
    }
    assert set(found) - {name for name in found if name.startswith(("mine", "beside"))} == {
        "foundation",
        "foundation.seeds",
    }
    assert "mine" not in sys.modules


@pytest.mark.parametrize(
    ("edited", "changes"),
    [
        ("mine/nets.py", True),
        ("mine/sizes.py", True),
        ("mine/norms.py", True),
        ("mine/__init__.py", True),
        ("beside.py", True),
        ("mine/unrelated.py", False),
    ],
)
def test_an_edit_is_another_key_where_the_file_is_needed(
    mine: Path, edited: str, changes: bool
) -> None:
    before = code_of("mine.nets")
    (mine / edited).write_text((mine / edited).read_text() + "\n# edited")
    assert (code_of("mine.nets") != before) == changes


def test_what_in_the_shell_changes_numbers_is_another_key(
    mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = code_of("mine.nets")
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=true")
    assert code_of("mine.nets") != before
    monkeypatch.delenv("XLA_FLAGS")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert code_of("mine.nets") == before


def test_a_module_that_is_not_there_is_named(mine: Path) -> None:
    with pytest.raises(ModuleNotFoundError, match="No module named nowhere"):
        code_of("mine.nets", "nowhere.nets")


def test_of_a_package_around_a_module_counts_what_it_imports_and_not_what_it_could(
    mine: Path,
) -> None:
    """`robustness` imports what it exports when a name of it is used."""
    (mine / "only_config.py").write_text("from robustness.config import ThreatModel")
    (mine / "judging.py").write_text("from robustness import Judge")
    assert {"robustness", "robustness.config", "robustness.suites"} <= set(
        modules_of("only_config")
    )
    assert "robustness.evaluation" not in modules_of("only_config")
    assert "robustness.evaluation" in modules_of("judging")


def test_what_is_imported_for_type_checkers_is_not_run(mine: Path) -> None:
    (mine / "typed.py").write_text(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import mine.nets\nelse:\n    import mine.layers"
    )
    found = modules_of("typed")
    assert "mine.layers" in found
    assert "mine.nets" not in found


def test_what_is_in_a_module_means_the_module() -> None:
    assert modules_of("trainer.train.run_fn") == modules_of("trainer.train")


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another place that our packages are found in."""
    for name in OURS:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    usual = code._spec

    def spec(top: str) -> ModuleSpec | None:
        return PathFinder.find_spec(top, [str(tmp_path)]) if top in OURS else usual(top)

    monkeypatch.setattr(code, "_spec", spec)
    return tmp_path


def test_keys_do_not_depend_on_the_place(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = {name: code_of(name) for name in NODES}
    assert len(set(here.values())) == len(NODES)
    copy = request.getfixturevalue("copy")
    assert modules_of("trainer.train")["trainer.train"] == copy / "trainer" / "train.py"
    assert {name: code_of(name) for name in NODES} == here
    monkeypatch.setattr(code, "LIBRARIES", {*code.LIBRARIES, str(copy)})
    assert {name: code_of(name) for name in NODES} == here, "installed among libraries"


@pytest.mark.parametrize(
    ("edited", "reached", "untouched"),
    [
        ("components/mirrors/debian.py", INGESTION, "trainer.train"),
        ("components/datasets/worker.py", INGESTION, "trainer.train"),
        ("components/serving_check/process.py", SERVING_CHECK, "components.pusher"),
        ("components/evaluator/metrics.py", EVALUATOR, "components.anomaly_gate"),
        ("components/pusher.py", "components.pusher", INGESTION),
        ("trainer/workers.py", "trainer.train", "trainer.preprocessing"),
        ("robustness/attacks/pgd.py", "trainer.train", EVALUATOR),
    ],
)
def test_an_edit_reaches_the_nodes_that_run_it_and_no_others(
    copy: Path, edited: str, reached: str, untouched: str
) -> None:
    before = [code_of(reached), code_of(untouched)]
    with open(copy / edited, "a") as file:
        file.write("\n")
    after = [code_of(reached), code_of(untouched)]
    assert after[0] != before[0]
    assert after[1] == before[1]


def test_a_key_imports_nothing_that_it_reads() -> None:
    script = (
        "import sys\n"
        "from foundation.code import code_of\n"
        f"code_of(*{NODES})\n"
        "assert not {'tensorflow', 'tfx', 'components', 'trainer'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_another_version_of_the_stack_is_another_key(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = []
    for changed in (None, *STACK):
        monkeypatch.setattr(code, "version", lambda name, changed=changed: str(name == changed))
        code._versions.cache_clear()
        keys.append(code_of())
    code._versions.cache_clear()
    assert len(set(keys)) == len(STACK) + 1


def test_a_machine_and_an_image_have_one_key() -> None:
    """An image holds the locked packages and nothing else."""
    lock = (Path(__file__).parents[2] / "requirements.lock").read_text()
    locked = {line.partition("==")[0] for line in lock.splitlines()}
    assert set(STACK) <= locked


@cache
def imports() -> grimp.ImportGraph:
    return grimp.build_graph(
        *OURS, cache_dir=None, include_external_packages=True, exclude_type_checking_imports=True
    )


@pytest.mark.parametrize("module", NODES)
def test_every_import_that_grimp_finds_is_in_the_key(module: str) -> None:
    """grimp is what import-linter reads imports with."""
    ours = {
        name for name in imports().find_upstream_modules(module) if name.partition(".")[0] in OURS
    }
    assert ours <= set(modules_of(module))


@pytest.mark.slow
def test_what_python_loads_is_in_the_key() -> None:
    """Read from the interpreter itself, so that an import which no reader of sources sees is missed
    here."""
    script = (
        "import importlib, json, sys\n"
        "loaded = {}\n"
        f"for name in {NODES}:\n"
        "    importlib.import_module(name)\n"
        f"    loaded[name] = [m for m in sys.modules if m.partition('.')[0] in {OURS}]\n"
        "print(json.dumps(loaded))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    in_keys: set[str] = set()
    for name, loaded in json.loads(done.stdout).items():
        in_keys |= set(modules_of(name))
        assert set(loaded) <= in_keys, name


def sources() -> dict[str, ast.Module]:
    """All modules of ours that nodes may run."""
    files = [path for package in OURS for path in sorted((ROOT / package).rglob("*.py"))]
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): ast.parse(
            path.read_bytes()
        )
        for path in files
    }


def test_what_is_started_by_its_name_is_in_the_key_of_what_starts_it() -> None:
    """A function that a child runs, and `python -m MODULE` in a list of arguments."""
    started = set()
    for module, tree in sources().items():
        for node in ast.walk(tree):
            match node:
                case ast.Call(func=ast.Name("Child"), args=[ast.Constant(value=str(name)), *_]):
                    started.add((module, name.partition(":")[0]))
                case ast.Call(func=ast.Name("Child")):
                    assert module == "trainer.workers", ast.unparse(node)
                case ast.List(elts=[*_, ast.Constant("-m"), ast.Constant(value=str(name)), _]):
                    started.add((module, name))
                case (
                    ast.List(elts=[*_, ast.Constant("-m"), _])
                    | ast.List(elts=[*_, ast.Constant("-m"), _, _])
                ):
                    pytest.fail(f"{module} starts {ast.unparse(node)}")
    for module, name in started:
        assert name in modules_of(module), f"{module} starts {name}"
    assert {name for _, name in started} == {
        "components.datasets.worker",
        "components.serving_check.process",
        "foundation.child",
    }


def test_modules_are_imported_by_name_where_the_name_is_in_the_key_of_another() -> None:
    """A child runs what its parent names, a network is a user's, whom the node's key knows, and
    `robustness` has the names of what it exports."""
    importers = {
        module
        for module, tree in sources().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).rpartition(".")[2] in ("import_module", "__import__")
    }
    assert importers == {"trainer.network", "foundation.child", "robustness"}


def test_nodes_read_no_files_of_their_packages_which_a_key_would_not_see() -> None:
    for module, path in modules_of(*NODES).items():
        for way in ("importlib.resources", "from importlib import resources", "pkgutil"):
            assert way not in path.read_text(), module


def test_the_stack_is_all_that_nodes_compute_with() -> None:
    stack = {
        name
        for name, distributions in packages_distributions().items()
        if any(distribution.lower().replace("_", "-") in STACK for distribution in distributions)
    }
    needed = {
        name.partition(".")[0]
        for module in modules_of(*NODES)
        for name in imports().find_modules_directly_imported_by(module)
    }
    assert needed - {*OURS, *SUPPORT, *sys.stdlib_module_names} <= stack
