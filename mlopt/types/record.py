"""The base of every noun: immutable, and strict about unknown keys."""

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """A frozen record. Unknown keys are refused, so that a misspelt option never passes silently."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
