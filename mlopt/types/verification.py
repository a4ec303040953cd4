"""What ``mlopt report RUN --verify`` finds: what differs, and what could not be looked at."""

from __future__ import annotations

from mlopt.types.record import Record


class Mismatch(Record):
    """One thing that a stored run says and its evidence does not.

    Attributes:
        file: Relative to the run's directory.
        place: A JSON pointer, a line (``line 12``), or empty for the file as a whole.
        about: Name of the candidate; empty where it is about none.
        says: What stands there; None: nothing.
        should: What follows from the evidence; None: nothing should stand there.
    """

    file: str
    place: str = ""
    says: str | None
    should: str | None
    about: str = ""


class Unverified(Record):
    """What was not looked at, and why.

    Attributes:
        what: Where it stands, with ``*`` for any number of places.
        count: How many fields, lines or files.
        reason: Why, and, where there is a way, how to have it verified.
    """

    what: str
    count: int
    reason: str


class Checked(Record):
    """How much was compared.

    Attributes:
        numbers: Numbers of ``run.json`` and ``plan.json``.
        fields: Their other fields: names, outcomes, reasons, hashes.
        files: Files whose hash or content was compared.
        lines: Lines of ``adr.md``.
        plots: Plots that were drawn again.
    """

    numbers: int = 0
    fields: int = 0
    files: int = 0
    lines: int = 0
    plots: int = 0

    def plus(self, other: Checked) -> Checked:
        """Both together."""
        return Checked(
            **{name: getattr(self, name) + getattr(other, name) for name in Checked.model_fields}
        )


class Findings(Record):
    """What one part of the verification has to say."""

    mismatches: tuple[Mismatch, ...] = ()
    unverified: tuple[Unverified, ...] = ()
    checked: Checked = Checked()

    @classmethod
    def of_file(cls, file: str, says: str | None, should: str | None, about: str = "") -> Findings:
        """One mismatch, which is about a file as a whole."""
        mismatch = Mismatch(file=file, says=says, should=should, about=about)
        return cls(mismatches=(mismatch,), checked=Checked(files=1))

    def plus(self, other: Findings) -> Findings:
        """Both, one after the other."""
        return Findings(
            mismatches=(*self.mismatches, *other.mismatches),
            unverified=(*self.unverified, *other.unverified),
            checked=self.checked.plus(other.checked),
        )
