"""``api.schema``."""

import json

import pytest

from mlopt import api
from mlopt.errors import ConfigError
from mlopt.passes import PASSES
from mlopt.project import Project
from mlopt.types.run import Run


@pytest.mark.parametrize("name", ["project", "recipe", "run"])
def test_a_schema_is_json_and_names_its_dialect(name):
    schema = api.schema(name)
    assert json.loads(json.dumps(schema)) == schema
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert schema["type"] == "object"


def test_schemas_name_every_key_and_every_pass():
    assert set(api.schema("project")["properties"]) == set(Project.model_fields)
    assert set(api.schema("run")["properties"]) == set(Run.model_fields)
    steps = api.schema("recipe")["properties"]["steps"]["items"]["anyOf"]
    assert {step["properties"]["pass"]["const"] for step in steps} == set(PASSES.entries)


def test_every_reference_in_a_schema_leads_somewhere():
    for name in ("project", "recipe", "run"):
        schema = api.schema(name)
        text = json.dumps(schema)
        named = {part.split('"')[0] for part in text.split('"#/$defs/')[1:]}
        assert named <= set(schema.get("$defs", {})), name


def test_an_unknown_schema_is_refused_with_a_near_match():
    with pytest.raises(ConfigError, match="Did you mean 'recipe'"):
        api.schema("recipes")
