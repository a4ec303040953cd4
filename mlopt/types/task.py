"""What a model is asked for."""

from typing import Literal

Task = Literal[
    "classification",
    "regression",
    "token_classification",
    "question_answering",
    "feature_extraction",
]
