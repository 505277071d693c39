"""A command's settings and its service: those of the environment, overridden by its options."""

from typing import Any

import typer
from pydantic import ValidationError

from connectors.errors import ConfigError
from service.settings import Settings

URL_VARIABLE = "ISTHMUS_URL"
"""The variable that names the running service to commands without --url."""


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


def service_meant(context: typer.Context, url: str | None, *here: str) -> str | None:
    """Return the URL of the service that a command is for; None where it is for this process.

    `here` names the options that only this process can use. Given, they overrule the environment's URL;
    beside an explicit --url they raise `ConfigError`.
    """
    given = [f"--{name.replace('_', '-')}" for name in here if context.params[name] is not None]
    if url is None or not given:
        return url
    source = context.get_parameter_source("url")
    if source is not None and source.name == "ENVIRONMENT":
        return None
    raise ConfigError(f"--url names a running service, and {given[0]} is for this process: give one of them")
