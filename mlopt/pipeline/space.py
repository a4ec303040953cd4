"""What a run will try: every choice of every recipe that applies, on every provider."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from mlopt.errors import ConfigError, UnavailableError
from mlopt.machine import usable_cpus
from mlopt.project import LoadedProject
from mlopt.providers import available_providers, resolve_provider
from mlopt.recipe import Recipe, find_recipe, list_recipes
from mlopt.recipe.schema import SESSION, Expansion
from mlopt.runners import RUNNERS
from mlopt.search._tpe import why_unavailable
from mlopt.types.candidate import PlannedCandidate, Role, suffix_of
from mlopt.types.passes import Brought
from mlopt.types.plan import Refinement, SearchPlan

REFERENCE = "pytorch"

DEFAULT_RECIPE = "auto"
"""What is tried where nobody names a recipe; the project's own recipes race with it."""


class Space(NamedTuple):
    """The candidates, and what the user should know about how they came about.

    Attributes:
        refinement: What is proposed later, by what was seen of the candidates.
    """

    candidates: tuple[PlannedCandidate, ...]
    notes: tuple[str, ...]
    refinement: Refinement = Refinement()


class Entry(NamedTuple):
    """A recipe that applies.

    Attributes:
        providers: Where its candidates run.
        is_whole: Whether each of its steps is measured as well.
    """

    recipe: Recipe
    providers: tuple[str, ...]
    is_whole: bool


def candidate_space(loaded: LoadedProject) -> Space:
    """Every expansion of every recipe on every provider, the baseline, and eager PyTorch.

    Recipes of several steps come with their waypoints, so that each step is measured, unless they
    race as a part of another recipe.

    Raises:
        ConfigError: A recipe or provider is unknown, or a recipe that was asked for does not apply.
        UnavailableError: A provider cannot be used here.
    """
    project = loaded.project
    brought = brought_by(loaded)
    _require_providers((*project.providers, project.baseline.provider))
    found, notes, refinement = _Finder(loaded, brought).find()
    baseline_recipe = find_recipe(project.baseline.recipe, loaded.directory).recipe
    if (reason := baseline_recipe.refuses(brought)) is not None:
        raise ConfigError(f"baseline.recipe: '{project.baseline.recipe}' does not apply: {reason}.")
    maker = maker_of(loaded)
    baseline = next(iter(maker.on(baseline_recipe, project.baseline.provider)))
    candidates = _candidates(found, maker, baseline)
    if brought.format == "torch":
        candidates = {REFERENCE: _reference(), **candidates}
    return Space(tuple(candidates.values()), notes, refinement)


def _candidates(
    found: Sequence[Entry], maker: Maker, baseline: PlannedCandidate
) -> dict[str, PlannedCandidate]:
    """By name, the baseline first; what is searched is not among them."""
    own = [
        [one for provider in entry.providers for one in maker.on(entry.recipe, provider)]
        if entry.recipe.search is None
        else []
        for entry in found
    ]
    known = {_identity(one) for several in own for one in several} | {_identity(baseline)}
    candidates = {baseline.name: baseline.model_copy(update={"role": "baseline"})}
    for entry, several in zip(found, own, strict=True):
        for waypoint in entry.recipe.waypoints(maker.brought.format) if entry.is_whole else ():
            for one in (c for p in entry.providers for c in maker.on(waypoint, p)):
                if _identity(one) not in known:
                    known.add(_identity(one))
                    candidates[one.name] = one.model_copy(update={"recipe": entry.recipe.name})
        for one in several:
            candidates.setdefault(one.name, one)
    return candidates


class _Finder:
    """Finds the recipes to try, and says of those that nobody asked for why some are left out."""

    def __init__(self, loaded: LoadedProject, brought: Brought) -> None:
        self._loaded = loaded
        self._brought = brought
        self._entries: dict[str, Entry] = {}
        self._notes: list[str] = []
        self._tune: dict[str, tuple[Any, ...]] = {}
        self._mixed: list[str] = []
        self._passed_over: dict[str, str] = {}

    def find(self) -> tuple[tuple[Entry, ...], tuple[str, ...], Refinement]:
        """The recipes, the notes, and what is proposed later.

        Raises:
            ConfigError: A recipe that was asked for is unknown, or does not apply.
        """
        project, directory = self._loaded.project, self._loaded.directory
        asked = [
            find_recipe(name, directory).recipe for name in project.recipes or (DEFAULT_RECIPE,)
        ]
        for recipe in asked:
            if recipe.tries:
                self._add_members(recipe)
            else:
                self._add(recipe, project.providers, is_named=bool(project.recipes))
        if not project.recipes:
            for found in list_recipes(directory):
                if not found.built_in and not found.recipe.tries:
                    self._add(found.recipe, project.providers, is_named=False)
        self._notes += [
            f"the recipe '{name}' is not tried: '{taken}' applies, which is tried in its place"
            for name, taken in self._passed_over.items()
            if name not in self._entries
        ]
        return tuple(self._entries.values()), tuple(dict.fromkeys(self._notes)), self._refinement()

    def _add_members(self, composite: Recipe) -> None:
        """Those that ``composite`` names, on the providers that it names."""
        providers = self._providers(composite)
        for names in composite.alternatives:
            members = [self._member(composite, name) for name in names]
            taken = next((m.name for m in members if self._add_member(m, providers)), None)
            if taken is not None:
                later = names[names.index(taken) + 1 :]
                self._passed_over |= dict.fromkeys(later, taken)
        self._tune |= {name: tuple(values) for name, values in composite.tune.items()}

    def _member(self, composite: Recipe, name: str) -> Recipe:
        member = find_recipe(name, self._loaded.directory).recipe
        if member.tries:
            raise ConfigError(
                f"the recipe '{composite.name}' tries '{name}', which tries others itself. Name "
                "those instead."
            )
        if composite.mixed_precision:
            return member.model_copy(update={"mixed_precision": True})
        return member

    def _add_member(self, member: Recipe, providers: tuple[str, ...]) -> bool:
        """Whether a recipe of a composite applies, on those providers where it pays."""
        where = tuple(n for n in providers if not member.providers or n in member.providers)
        return bool(where) and self._add(member, where, is_named=False, is_whole=False)

    def _add(
        self, recipe: Recipe, providers: tuple[str, ...], *, is_named: bool, is_whole: bool = True
    ) -> bool:
        """Whether a recipe applies; then it is tried.

        Raises:
            ConfigError: It was asked for by its name, and does not.
        """
        reason = (
            recipe.refuses(self._brought)
            or _lacks_split(recipe, self._loaded)
            or _lacks_optuna(recipe, self._brought)
        )
        if reason is not None and is_named:
            raise ConfigError(f"the recipe '{recipe.name}' does not apply: {reason}.")
        if reason is not None:
            self._notes.append(f"the recipe '{recipe.name}' does not apply: {reason}")
            return False
        self._entries.setdefault(recipe.name, Entry(recipe, providers, is_whole))
        if recipe.mixed_precision:
            self._mixed.append(recipe.name)
        return True

    def _providers(self, composite: Recipe) -> tuple[str, ...]:
        """The project's, where it names them; else those of the recipe that can be used here."""
        project = self._loaded.project
        if "providers" in project.model_fields_set or not composite.providers:
            return project.providers
        reasons = available_providers()
        for name in composite.providers:
            reason = reasons.get(name)
            # Of a processor that is not there, nobody wants to be told.
            if reason is not None and "-" not in name and resolve_provider(name).host_memory:
                self._notes.append(f"the provider '{name}' is not tried: {reason}")
        return tuple(n for n in composite.providers if n in reasons and reasons[n] is None)

    def _refinement(self) -> Refinement:
        searches = tuple(
            SearchPlan(
                recipe=entry.recipe.name,
                steps=entry.recipe.steps,
                session=entry.recipe.session,
                providers=entry.providers,
                trials=entry.recipe.search.trials,
                batch=entry.recipe.search.batch,
            )
            for entry in self._entries.values()
            if entry.recipe.search is not None
        )
        return Refinement(
            searches=searches,
            mixed_precision=tuple(dict.fromkeys(self._mixed)),
            tune=self._tune,
        )


def _lacks_split(recipe: Recipe, loaded: LoadedProject) -> str | None:
    missing = sorted(recipe.reads() - set(loaded.project.data))
    if not missing:
        return None
    splits = " and ".join(f"data.{split}" for split in missing)
    return f"it needs {splits}: add that to mlopt.yaml, or choose recipes with --recipe"


def _lacks_optuna(recipe: Recipe, brought: Brought) -> str | None:
    if recipe.search is None:
        return None
    size = math.prod(len(values) for values in recipe.dimensions(brought.format).values())
    return why_unavailable() if size > recipe.search.trials else None


class Maker(NamedTuple):
    """Makes candidates of recipes.

    Attributes:
        home: The baseline's provider, which names of candidates leave out.
    """

    brought: Brought
    home: str

    def on(self, recipe: Recipe, provider: str) -> Iterator[PlannedCandidate]:
        """Every choice of a recipe on one provider; what is the same there comes once."""
        made = (self.of(recipe.name, one, provider) for one in recipe.expand(self.brought.format))
        yield from {candidate.name: candidate for candidate in made}.values()

    def chosen(self, recipe: Recipe, choices: Mapping[str, Any], provider: str) -> PlannedCandidate:
        """One choice of a recipe on one provider."""
        return self.of(recipe.name, recipe.choose(self.brought.format, choices), provider)

    def of(self, name: str, expansion: Expansion, provider: str) -> PlannedCandidate:
        """The candidate that an expansion of the recipe ``name`` is on one provider."""
        place = resolve_provider(provider)
        label = place.label
        elsewhere = "" if label == resolve_provider(self.home).label else f"@{label}"
        kind = RUNNERS[place.runner]
        # A setting of ONNX Runtime's means nothing to OpenVINO by itself: it is no choice there.
        session = kind.known({**place.session, **expansion.session})
        runner = kind.model_validate(session).resolve(usable_cpus())
        foreign = expansion.session.keys() - session.keys()
        left_out = {text for setting in foreign for text in (setting, f"{SESSION}.{setting}")}
        choices = {n: v for n, v in expansion.choices.items() if n not in left_out}
        return PlannedCandidate(
            name=name + suffix_of(choices) + elsewhere,
            role="candidate",
            recipe=name,
            provider=label,
            runner=kind.name,
            steps=expansion.steps,
            choices=choices,
            settings=runner.model_dump(mode="json"),
        )


def brought_by(loaded: LoadedProject) -> Brought:
    """What a project brings, as far as it decides which passes apply."""
    project = loaded.project
    return Brought(project.model.produces, has_student=project.student is not None)


def maker_of(loaded: LoadedProject) -> Maker:
    """What makes candidates of recipes for a project."""
    return Maker(brought_by(loaded), loaded.project.baseline.provider)


def _identity(candidate: PlannedCandidate) -> str:
    """What a candidate is, whatever it is called."""
    return candidate.model_dump_json(include={"steps", "provider", "runner", "settings"})


def _require_providers(names: Sequence[str]) -> None:
    """Checks every provider before it complains of any.

    Raises:
        ConfigError: Some are unknown.
        UnavailableError: Some cannot be used here.
    """
    unknown, unavailable = [], []
    for name in dict.fromkeys(names):
        try:
            resolve_provider(name).require()
        except ConfigError as e:
            unknown.append(str(e))
        except UnavailableError as e:
            unavailable.append(str(e))
    if unknown:
        raise ConfigError("\n".join(unknown))
    if unavailable:
        raise UnavailableError("\n".join(unavailable))


def _reference() -> PlannedCandidate:
    role: Role = "reference"
    return PlannedCandidate(
        name=REFERENCE,
        role=role,
        recipe=None,
        provider="cpu",
        runner="pytorch",
        settings=RUNNERS["pytorch"]().resolve(usable_cpus()).model_dump(mode="json"),
    )
