"""``api.list_recipes``, ``api.show_recipe`` and ``api.validate_recipes``."""

import pytest

from mlopt import api
from mlopt.errors import ConfigError
from mlopt.recipe.load import builtin_dir

GOOD = "name: mine\nsummary: s\nwhen: w\nsteps:\n  - pass: export_onnx\n"


@pytest.fixture
def project(tmp_path):
    (tmp_path / "recipes").mkdir()
    (tmp_path / "mlopt.yaml").write_text("")
    (tmp_path / "recipes" / "mine.yaml").write_text(GOOD)
    return tmp_path


def test_every_built_in_recipe_is_valid_and_listed():
    valid = [recipe.name for recipe in api.validate_recipes([builtin_dir()])]
    assert [found.recipe.name for found in api.list_recipes()] == valid
    assert "fp32" in valid


def test_a_project_adds_its_own_recipes(project):
    found = {one.recipe.name: one.built_in for one in api.list_recipes(project)}
    assert found["mine"] is False
    assert found["fp32"] is True
    assert found == {o.recipe.name: o.built_in for o in api.list_recipes(project / "mlopt.yaml")}


def test_a_recipe_is_shown_with_its_comments(project):
    assert api.show_recipe("fp32").startswith("#")
    assert api.show_recipe("mine", project) == GOOD


def test_a_directory_without_a_project_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"there is no mlopt\.yaml"):
        api.list_recipes(tmp_path)


def test_mistakes_of_all_files_are_reported_at_once(project):
    bad = project / "recipes" / "bad.yaml"
    bad.write_text("name: bad\nsummary: s\nwhen: w\nsteps:\n  - pass: export_onxn\n  - {}\n")
    worse = project / "recipes" / "worse.yaml"
    worse.write_text("[]")
    with pytest.raises(ConfigError) as error:
        api.validate_recipes([project / "recipes", project / "none.yaml"])
    lines = str(error.value).splitlines()
    assert [line for line in lines if "bad.yaml, steps[0]" in line and "export_onnx" in line]
    assert [line for line in lines if "bad.yaml, steps[1]" in line]
    assert [line for line in lines if "worse.yaml" in line]
    assert [line for line in lines if "none.yaml" in line]


def test_a_directory_without_recipes_is_a_mistake(tmp_path):
    with pytest.raises(ConfigError, match=r"holds no \.yaml file"):
        api.validate_recipes([tmp_path])
