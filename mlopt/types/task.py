"""What a model is asked for, and the marks that all who score or train it agree on."""

from typing import Literal

Task = Literal[
    "classification",
    "regression",
    "token_classification",
    "question_answering",
    "feature_extraction",
]

IGNORED = -100
"""The label of a token that is not counted, as in torch and transformers."""

ATTENTION_MASK = "attention_mask"
"""The input of shape (N, T) that is 0 where a text is padded."""

NO_TOKEN = -1e9
"""The logit of padding: no span starts or ends there, and a softmax makes it 0."""
