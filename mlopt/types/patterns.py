"""What the names that users write must look like, and how a message says so."""

REFERENCE = r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"
IDENTIFIER = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"
RECIPE_NAME = r"^[a-z0-9][a-z0-9-]*$"

MEANINGS = {
    REFERENCE: "should be 'module:function', such as 'model:build' for build() in model.py",
    IDENTIFIER: "should consist of letters, digits, '_', '.' and '-', and begin with one of the "
    "first two",
    RECIPE_NAME: "should consist of small letters, digits and '-'",
}
"""By pattern."""
