"""What the command line shows of presets."""

import pytest

from pipeline.definition.presets import PRESETS


@pytest.mark.parametrize("name", list(PRESETS))
def test_the_first_line_of_a_preset_fits_into_the_help(name: str) -> None:
    first, _, rest = (PRESETS[name].__doc__ or "").partition("\n")
    assert 20 < len(first) < 60
    assert f"Command: `gauntlet run --preset {name}`" in rest
