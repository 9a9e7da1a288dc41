"""What whoever starts a run answers for: another purpose, or a weaker policy."""

import dataclasses
import json
from dataclasses import dataclass

import pydantic

from components.changes import Signature, require_line, whoami
from foundation.errors import ConfigError
from foundation.json import dumps

REPLACE = '--replace --reason "..."'
FORCE = '--force --reason "..."'

NOBODY = Signature(by="", at="", reason="")


@dataclass(frozen=True, kw_only=True)
class Mandate:
    """What whoever starts a run answers for: that it may replace the purpose, or may push under a
    weaker policy; and who that is, when it was said and why."""

    __pydantic_config__ = pydantic.ConfigDict(extra="forbid")

    replace: bool = False
    force: bool = False
    signature: Signature = NOBODY

    def to_json(self) -> str:
        """The mandate in one line; '' where nothing is allowed."""
        return dumps(self, indent=None) if self.replace or self.force else ""

    @classmethod
    def of_json(cls, text: str) -> "Mandate":
        """Inverse of `to_json`; raises ConfigError where it is none, or has no reason."""
        if not text:
            return cls()
        try:
            mandate = pydantic.TypeAdapter(cls).validate_json(text, strict=True)
        except ValueError as error:
            raise ConfigError(f"this is no mandate to replace or to force: {text}") from error
        if not (mandate.signature.by and mandate.signature.reason.strip()):
            raise ConfigError(f"a mandate says who gives it and why: {text}")
        for said in dataclasses.astuple(mandate.signature):
            require_line("a mandate", said)
        return mandate

    def signed_here(self) -> Signature:
        """The signature as the process that pushes can answer for it: of whoever signed elsewhere,
        as on a platform, nothing is known but what was submitted."""
        if self.signature.by == (here := whoami()):
            return self.signature
        by = json.dumps(self.signature.by, ensure_ascii=False, allow_nan=False)
        return dataclasses.replace(self.signature, by=f"{here}, submitted by {by}")
