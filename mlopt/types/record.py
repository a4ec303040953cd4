"""The base of every noun: immutable, and strict about unknown keys."""

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """A frozen record. Unknown keys are refused, so that a misspelt option never passes silently."""

    # Validators are built when first used: most processes need but a few of all records.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True, allow_inf_nan=False)
