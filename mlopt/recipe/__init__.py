"""Recipes: ordered lists of passes, with choices."""

from mlopt.recipe.load import FoundRecipe, find_recipe, list_recipes, read_recipe
from mlopt.recipe.schema import Recipe, json_schema

__all__ = ["FoundRecipe", "Recipe", "find_recipe", "json_schema", "list_recipes", "read_recipe"]
