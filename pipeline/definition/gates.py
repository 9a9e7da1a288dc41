"""What the gates of a run cannot reach, by its configuration. Read without TensorFlow."""

from pipeline.definition.config import RunConfig
from robustness.suites import attacks_of, bounds_of


def out_of_reach(config: RunConfig) -> list[str]:
    """Why no model can be pushed with this configuration; a sentence for each reason."""
    stages = config.attack.stages
    runs = {*bounds_of(stages), *(attack.name for attack in attacks_of(stages))}
    missing = [str(stage) for stage in config.gates.required if stage not in runs]
    found = (
        [f"gates.required asks for {', '.join(missing)}, which attack.* leaves out"]
        if missing
        else []
    )
    if config.gates.checks and not config.attack.checks:
        found.append("gates.checks asks for honesty checks, which attack.checks=false leaves out")
    return found
