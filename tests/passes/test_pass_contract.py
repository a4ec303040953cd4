"""What holds for every pass; one that is added is checked without a line here."""

from __future__ import annotations

import json
import typing

import pytest

from mlopt.passes import PASSES, Pass
from mlopt.project.schema import SPLITS
from mlopt.types.artifact import Format

FLAGS = {
    "x86 with VNNI": frozenset({"sse4_1", "avx", "avx2", "avx512f", "avx512_vnni"}),
    "x86 without VNNI": frozenset({"sse4_1", "avx", "avx2"}),
    "an ARM": frozenset({"asimd", "asimddp", "i8mm"}),
    "a processor that says nothing": frozenset(),
}

every_pass = pytest.mark.parametrize("name", list(PASSES.entries))
every_processor = pytest.mark.parametrize("processor", FLAGS)


def _own_docstring_section(kind: type[Pass]) -> str:
    _, _, section = (kind.__doc__ or "").partition("Attributes:")
    return section


def test_the_folder_holds_the_passes_of_the_built_in_recipes():
    assert {"export_onnx", "int8_dynamic", "int8_static"} <= set(PASSES.entries)


@every_pass
def test_a_pass_is_called_like_its_file(name):
    assert PASSES[name].name == name == PASSES[name].__module__.split(".")[-1]


@every_pass
def test_a_pass_says_in_one_line_what_it_does(name):
    summary = PASSES[name].summary
    assert summary
    assert "\n" not in summary
    assert len(summary) <= 80


@every_pass
def test_a_pass_needs_no_parameter(name):
    assert PASSES[name]() == PASSES[name].model_validate({})


@every_pass
def test_a_pass_states_what_it_consumes_produces_and_reads(name):
    kind = PASSES[name]
    assert {kind.consumes, kind.produces} <= set(typing.get_args(Format))
    assert set(kind.splits) <= set(SPLITS)
    assert "holdout" not in kind.splits
    assert kind.libraries


@every_pass
def test_every_parameter_of_a_pass_is_explained_in_its_docstring(name):
    kind = PASSES[name]
    section = _own_docstring_section(kind)
    assert [field for field in kind.model_fields if f"\n        {field}: " not in section] == []


@every_pass
@every_processor
def test_a_resolved_pass_leaves_nothing_to_be_chosen(name, processor):
    resolved = PASSES[name]().resolve(FLAGS[processor])
    chosen = resolved.model_dump()
    if name == "export_onnx":  # which exporter works is known only when one has
        chosen.pop("exporter")
    assert "auto" not in chosen.values()


@every_pass
@every_processor
def test_resolving_twice_changes_nothing(name, processor):
    flags = FLAGS[processor]
    once = PASSES[name]().resolve(flags)
    assert once.resolve(flags) == once
    assert all(once.resolve(other) == once for other in FLAGS.values())


@every_pass
@every_processor
def test_resolving_keeps_what_was_stated(name, processor):
    kind = PASSES[name]
    stated = kind().resolve(frozenset())
    assert stated.resolve(FLAGS[processor]) == stated


@every_pass
@every_processor
def test_the_parameters_of_a_pass_survive_json(name, processor):
    kind = PASSES[name]
    for one in (kind(), kind().resolve(FLAGS[processor])):
        stored = json.loads(json.dumps(one.model_dump(mode="json")))
        assert kind.model_validate(stored) == one


@every_pass
def test_the_json_schema_of_a_pass_describes_its_parameters_and_no_others(name):
    schema = PASSES[name].model_json_schema()
    assert set(schema.get("properties", {})) == set(PASSES[name].model_fields)
    assert schema["additionalProperties"] is False
    json.dumps(schema)
