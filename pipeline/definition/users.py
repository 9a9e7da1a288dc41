"""Which nodes are told a setting. A test compares this with the DAG."""

JUDGES = ("Champion", "AnomalyGate", "Evaluator", "Pusher")
BOTH = ("FrontTuner", "Trainer.undefended", "Trainer.robust")
ROBUST = ("FrontTuner", "Trainer.robust")
LABELS = (
    "CuratedSchema",
    "Champion",
    "TfdsExampleGen",
    "AnomalyGate",
    *BOTH,
    "Evaluator",
    "Pusher",
)

TOLD: dict[str, tuple[str, ...]] = {
    "seed": (*BOTH, "AdversarialExampleGen", "Pusher"),
    "data": ("TfdsExampleGen",),
    "data.dataset": ("LastSpan", "Champion", "TfdsExampleGen", "AnomalyGate", "Pusher"),
    "data.test": ("Champion", "TfdsExampleGen", "Pusher"),
    "data.image_shape": ("CuratedSchema", "Champion", "Transform", *BOTH, "Pusher"),
    "data.classes": LABELS,
    "data.class_names": LABELS,
    "data.accept_classes": ("Champion", "AnomalyGate", "ChampionChallenge"),
    "data.resize": ("Transform", "ServingCheck"),
    "data.span": ("LastSpan", "Champion", "AnomalyGate", "Pusher"),
    "trainer": ROBUST,
    "trainer.strategy": BOTH,
    "trainer.workers": BOTH,
    "trainer.tpu": BOTH,
    "trainer.network": (*BOTH, "Pusher"),
    "trainer.filters": BOTH,
    "trainer.kernel_size": BOTH,
    "trainer.stride": BOTH,
    "trainer.padding": BOTH,
    "trainer.pool_size": BOTH,
    "trainer.dense": BOTH,
    "trainer.epochs": BOTH,
    "trainer.validation_images": BOTH,
    "trainer.warm_start": ("Trainer.robust",),
    "recipe": ROBUST,
    "tuner": ("FrontTuner",),
    "threat": ("Champion", *BOTH, "AdversarialExampleGen", "Pusher"),
    "attack": ("Champion", "AdversarialExampleGen", "Pusher"),
    "gates": JUDGES,
    "serving.platform": ("Champion", "InfraValidator", "Pusher"),
    "serving.tag": ("InfraValidator",),
}
"""By name, or by section for all others in it: the nodes in whose parameters it is. Champion
compares the terms of a run with those of the place that it pushes to, the Pusher writes them."""


def told(name: str) -> tuple[str, ...]:
    """The nodes that are told a setting."""
    section = name.rpartition(".")[0]
    return TOLD[name] if name in TOLD else TOLD[section]
