"""The settings a command runs with: those of the environment, overridden by its options."""

from typing import Any

import typer
from pydantic import ValidationError

from service.settings import Settings


def settings_with(**given: Any) -> Settings:
    """Return the settings of the environment, overridden by what is not None.

    A wrong one is printed to stderr and ends the program with status 2.
    """
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        for problem in error.errors():
            name = "ISTHMUS_" + "_".join(str(part) for part in problem["loc"]).upper()
            typer.echo(f"error: {name}: {problem['msg']}", err=True)
        raise typer.Exit(2) from error
