"""A recipe written out: every value it has, as TOML that reads back as the same recipe."""

import json
from collections.abc import Mapping
from typing import Any

from training.recipe import Recipe


def recipe_text(recipe: Recipe) -> str:
    """Write all values of a recipe, plain keys first and then one section after another."""
    return values_text(recipe.model_dump(mode="json"))


def values_text(values: Mapping[str, Any]) -> str:
    """Write a recipe's values, as JSON has them; sections that hold nothing are left out."""
    plain = [f"{k} = {json.dumps(v)}" for k, v in values.items() if not isinstance(v, Mapping)]
    sections = [
        "\n".join(["", f"[{name}]", *(f"{_key(k)} = {json.dumps(v)}" for k, v in section.items())])
        for name, section in values.items()
        if isinstance(section, Mapping) and section
    ]
    return "\n".join([*plain, *sections]) + "\n"


def _key(name: str) -> str:
    return json.dumps(name) if "/" in name else name
