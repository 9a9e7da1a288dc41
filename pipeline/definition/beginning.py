"""Where a configuration begins: a preset, or a run's own, and what a file says beyond it."""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass

from foundation.errors import ConfigError
from foundation.json import plain
from pipeline.definition import DEFAULT_PRESET
from pipeline.definition.config import RunConfig, override
from pipeline.definition.presets import PRESETS, preset
from pipeline.definition.settings import all_settings, value_of
from pipeline.definition.settings_file import SettingsFile, Values

FOLDER = ("data.dataset", "data.span", "data.resize")
"""Settings that say which folder is looked at, and how."""

Lot = tuple[str, Values]
"""Values, and where they were read."""


@dataclass(frozen=True, kw_only=True)
class Beginning:
    """Where a configuration begins.

    config: one of our presets, under the name of the user's own where that was chosen, or the
    configuration of a run. lots: what the user's own presets and file say; a later lot wins over
    the earlier ones. base: name of our preset; '' for a run that began with a user's own. file:
    None without one.
    """

    config: RunConfig
    lots: tuple[Lot, ...] = ()
    base: str
    file: SettingsFile | None = None

    def only(self, names: Iterable[str]) -> "Beginning":
        """The same, with no other settings of the lots than these."""
        chosen = set(names)
        lots = tuple(
            (source, {name: value for name, value in values.items() if name in chosen})
            for source, values in self.lots
        )
        return dataclasses.replace(self, lots=lots)

    def with_settings(
        self,
        assignments: Iterable[str],
        derived: Lot | None = None,
        located: Iterable[str] = (),
    ) -> RunConfig:
        """The configuration with the lots and then the assignments, see `override`.

        derived: what a folder of images tells. A user's word wins over it, and so does what a run
            was told, as long as no other folder is asked for.
        located: assignments that say which folder was found; they come last.
        """
        assignments = list(assignments)
        folder = [] if derived is None else [derived]
        other_folder = self.file and self.file.whole and any(map(names_folder, assignments))
        lots = (*self.lots, *folder) if other_folder else (*folder, *self.lots)
        return override(self.config, (*assignments, *located), lots)

    def idle(self, config: RunConfig) -> dict[str, str]:
        """Settings of the file that do nothing in the configuration that came of it, and for each
        the setting that is the reason."""
        if self.file is None or self.file.whole:
            return {}
        return {name: why for name, why in config.unused.items() if name in self.file.values}

    @property
    def overridden(self) -> list[str]:
        """Settings of which the file says something else than our preset, where it does not name
        that preset itself."""
        if self.file is None or self.file.whole or self.file.preset == self.base:
            return []
        known, ours = all_settings(), preset(self.base)
        said = self.file.values.items()
        return [name for name, value in said if plain(value) != value_of(ours, known[name])]


def names_folder(assignment: str) -> bool:
    """Whether it is of a setting that says which folder is looked at, and how."""
    return assignment.partition("=")[0].strip() in FOLDER


def begin(wanted: str | None, file: SettingsFile | None) -> Beginning:
    """Where a configuration begins.

    wanted: preset on the command line; None for the file's, or the default.

    Raises:
        ConfigError: there is no such preset, or it and the file say two things of a setting.
    """
    if file is None:
        name = wanted or DEFAULT_PRESET
        return Beginning(config=preset(name), base=name)
    if file.whole:
        return _of_run(wanted, file.whole, file)
    base, *own = file.line(wanted or file.preset or DEFAULT_PRESET)
    config = dataclasses.replace(preset(base), preset=own[-1] if own else base)
    lots = [(f"{file.path} [presets.{name}]", file.presets[name].values) for name in own]
    _require_one_word(file, dict(lots))
    lots.append((str(file.path), file.values))
    return Beginning(config=config, lots=tuple(lots), base=base, file=file)


def _of_run(wanted: str | None, whole: RunConfig, file: SettingsFile) -> Beginning:
    if wanted not in (None, whole.preset):
        raise ConfigError(
            f"{file.path} is the whole configuration of a run of preset {whole.preset}, of which "
            f"--preset {wanted} would change nothing; leave one of them out"
        )
    base = whole.preset if whole.preset in PRESETS else ""
    return Beginning(config=whole, lots=((str(file.path), file.values),), base=base, file=file)


def _require_one_word(file: SettingsFile, presets: dict[str, Values]) -> None:
    """What stands beside the presets wins over them, so a preset that says something else would
    say it in vain."""
    for source, values in presets.items():
        for name in values.keys() & file.values.keys():
            if values[name] != file.values[name]:
                raise ConfigError(
                    f"{source} sets {name}, and so does the file outside of its presets, which "
                    "would always win; leave one of them out, or put the latter into a preset too"
                )
