"""The recipe: every choice of a training run as one validated value, read from TOML or YAML.

Given a file (or the name of a shipped recipe), gives a frozen `Recipe`. A file holds only what differs
from the recipe it `extends`; the shipped ones, in `training/recipes`, spell out every value, so no
default hides in code. Sources of the values are named there.
"""

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from connectors.errors import ConfigError, MissingFiles
from connectors.modality import MODALITIES, Modality
from training.aggregation import Weighting
from training.pseudo_pairs import Query, Role

RECIPES = Path(__file__).parent / "recipes"
"""Where the shipped recipes lie."""

Method: TypeAlias = Literal["exmcr", "cmcr", "ridge", "procrustes"]
Contrasted: TypeAlias = tuple[Literal["leaf", "overlap"], Literal["base", "overlap"]]


class Options(BaseModel):
    """One section of a recipe."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PseudoPairOptions(Options):
    """[pseudo_pairs]: who asks the memories, and how their answers are weighted."""

    queries: tuple[Query, ...] = Field(
        min_length=1, description="Modalities that take their turn as the query"
    )
    weighting: Weighting = Field(description="soft, top_k or hard")
    temperature: float = Field(gt=0, description="τ1")
    top_k: int = Field(ge=1, description="Memories a query reads where weighting is top_k")
    precision: Literal["float32", "bfloat16"] = Field(
        description="Precision of the products where the device has both (CUDA)"
    )


class ProjectorOptions(Options):
    """[projector]: the shape of the heads."""

    leaf_layers: int = Field(ge=0, le=2, description="f_l: 0 linear (identity at first), else MLP")
    layers: int = Field(ge=0, le=5, description="f_m: how many MLP blocks; 0 is a linear map")
    skip: bool = Field(description="f_m: add a linear map, begun at ridge, to the MLP blocks")
    hidden: int = Field(ge=1, description="Width of an MLP block")
    cmcr_shape: Literal["two_layer", "one_layer"] = Field(
        description="C-MCR's heads: two_layer as CLAP-CLIP, one_layer as ULIP-CLIP"
    )


class LossOptions(Options):
    """[loss]: temperatures, weights and which pairs are contrasted."""

    contrasts: tuple[Contrasted, ...] = Field(
        min_length=1, description="Ex-MCR's InfoNCE terms, as [leaf side, base side]"
    )
    overlap_temperature: float = Field(gt=0, description="τ2")
    other_temperature: float = Field(gt=0, description="τ3, C-MCR's second term")
    intra_weight: float = Field(ge=0, description="λ")
    intra_squared: bool = Field(description="|.|² in place of |.| in the intra loss")
    noise_variance: float = Field(ge=0, description="σ² of semantic completion; 0 is off")
    neighbourhood_weight: float = Field(ge=0, description="Weight of neighbourhood preservation")
    neighbourhood_temperature: float = Field(gt=0, description="Its temperature")
    real_weight: float = Field(ge=0, description="Weight of InfoNCE on [real_pairs]")


class OptimOptions(Options):
    """[optim]: how long, how fast and from which seed."""

    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=2, description="Rows a step over all processes")
    lr: float = Field(gt=0, description="AdamW's, cosine to 0")
    warmup: float = Field(ge=0, lt=1, description="Share of the steps in which lr rises from 0")
    weight_decay: float = Field(ge=0)
    clip: float = Field(ge=0, description="Largest gradient norm; 0 is no clipping")
    ema: float = Field(ge=0, lt=1, description="Decay of averaged weights; 0 is off")
    precision: Literal["float32", "bfloat16"] = Field(description="bfloat16 is AMP")
    seed: int = Field(ge=0)
    checkpoint_steps: int = Field(ge=1, description="Steps between checkpoints")


class ConnectionOptions(Options):
    """[connection]: what goes past the papers at inference."""

    centring: Literal["none", "leaf", "all"] = Field(
        description="Subtract modality means: nowhere, before leaf heads, or in the base as well"
    )
    ensemble: tuple[tuple[Query, ...], ...] = Field(
        description="One projector for each set of queries, averaged; empty: one, of all the queries"
    )
    ridge_share: float = Field(ge=0, lt=1, description="Weight of the ridge baseline in the averaged head")
    blend: float = Field(
        ge=0,
        le=1,
        description="Leaf's share in the overlapping modality's vector, where both spaces embed it",
    )


class Recipe(Options):
    """A training run. `features` may stay empty where embeddings are given in memory."""

    method: Method
    base: str = Field(description="The space that is extended; Ex-MCR leaves it untouched")
    leaf: str = Field(description="The space that is connected to it")
    overlap: Modality = Field(description="The modality both spaces embed")
    features: dict[str, Path] = Field(default={}, description="'space/modality' -> feature set")
    real_pairs: dict[str, Path] = Field(
        default={}, description="Two feature sets of the same items, where there are some"
    )
    evaluation: dict[str, Path] = Field(
        default={}, description="Feature sets the result and its baselines are judged on"
    )
    pseudo_pairs: PseudoPairOptions
    projector: ProjectorOptions
    loss: LossOptions
    connection: ConnectionOptions
    optim: OptimOptions
    ridge: tuple[float, ...] = Field(
        min_length=1, description="Penalties the ridge baseline chooses from, as shares of variance"
    )

    def roles(self, names: Iterable[str]) -> dict[Role, str]:
        """Which 'space/modality' plays which part, of the ones there are embeddings of.

        Raises `ConfigError` where a part is missing, or a name has none.
        """
        given = list(names)
        overlap = {f"{self.base}/{self.overlap}", f"{self.leaf}/{self.overlap}"}
        absent = sorted(overlap - set(given))
        if absent:
            raise ConfigError(
                f"{self.base} and {self.leaf} are connected by {self.overlap}, so [features] needs "
                f"{' and '.join(absent)}; it has: {', '.join(given) or 'nothing'}"
            )
        others = {}
        for space in (self.base, self.leaf):
            own = [n for n in given if n.split("/")[0] == space and n not in overlap]
            if len(own) != 1:
                raise ConfigError(
                    f"[features] needs {space}/{self.overlap} and one other modality of {space}, the "
                    f"memory; it has: {', '.join(own) or 'none'}"
                )
            others[space] = own[0]
        foreign = [n for n in given if n not in overlap and n not in others.values()]
        if foreign:
            raise ConfigError(
                f"[features] names {', '.join(foreign)}, but this recipe connects {self.base} and {self.leaf}"
            )
        return {
            "base_overlap": f"{self.base}/{self.overlap}",
            "base_other": others[self.base],
            "leaf_overlap": f"{self.leaf}/{self.overlap}",
            "leaf_other": others[self.leaf],
        }

    @field_validator("overlap")
    @classmethod
    def _known(cls, overlap: Modality) -> Modality:
        if overlap not in MODALITIES:
            raise ValueError(f"is one of {', '.join(map(repr, MODALITIES))}")
        return overlap

    @model_validator(mode="after")
    def _consistent(self) -> "Recipe":
        if self.base == self.leaf:
            raise ValueError(f"base and leaf are both {self.base!r}: name two spaces")
        if self.loss.real_weight and not self.real_pairs:
            raise ValueError("loss.real_weight needs [real_pairs]: two feature sets of the same items")
        beyond = self.connection.ensemble or self.connection.ridge_share
        if self.method == "cmcr" and beyond:
            raise ValueError(
                "connection.ensemble and ridge_share average heads into one base space, which only "
                "Ex-MCR has: leave them empty and 0 for C-MCR"
            )
        return self


def load_recipe(source: Path | str, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """Read a recipe file, or a shipped recipe by name; paths in a file are relative to it.

    Args:
        source: a .toml, .yaml or .yml file, or one of `shipped_recipes()`.
        overrides: sections and keys laid over it last, nested as in a file.

    Raises:
        MissingFiles: no such file and no shipped recipe of that name.
        ConfigError: it cannot be parsed, or a key is unknown, missing or out of range.

    """
    values = _resolve(Path(source), overrides or {})
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"recipe {source}: {_explain(error)}") from error


def shipped_recipes() -> tuple[str, ...]:
    """Names of the recipes that come with the package."""
    return tuple(sorted(path.stem for path in RECIPES.glob("*.toml")))


def _resolve(source: Path, overlay: Mapping[str, Any]) -> dict[str, Any]:
    """Lay `overlay` over a recipe, and that over what it extends, all the way down."""
    values = _merge(_read(source), overlay)
    parent = values.pop("extends", None)
    if parent is None:
        if _shipped(source) is not None:
            return values
        parent = "cmcr-paper" if values.get("method") == "cmcr" else "default"
    if parent not in shipped_recipes():
        known = ", ".join(shipped_recipes())
        raise ConfigError(f"{source}: extends = {parent!r} is no shipped recipe; there are: {known}")
    return _resolve(Path(parent), values)


def _shipped(source: Path) -> Path | None:
    return RECIPES / f"{source}.toml" if str(source) in shipped_recipes() else None


def _read(source: Path) -> dict[str, Any]:
    """Parse one file, its feature paths made absolute."""
    path = _shipped(source) or source
    if not path.is_file():
        known = ", ".join(shipped_recipes())
        raise MissingFiles(f"no recipe file {source}, and no shipped recipe of that name ({known})")
    try:
        if path.suffix in (".yaml", ".yml"):
            values = yaml.safe_load(path.read_text(encoding="utf-8"))
        else:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"recipe {path} cannot be parsed: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"recipe {path} holds no keys")
    for key in ("features", "real_pairs", "evaluation"):
        if isinstance(values.get(key), dict):
            values[key] = {
                name: str(path.resolve().parent / str(where)) for name, where in values[key].items()
            }
    return values


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        former = merged.get(key)
        if isinstance(former, Mapping) and isinstance(value, Mapping):
            merged[key] = _merge(former, value)
        else:
            merged[key] = value
    return merged


def _explain(error: ValidationError) -> str:
    """Say for every mistake which key it is, what is wrong and, for an unknown key, what was meant."""
    lines = []
    for mistake in error.errors():
        where = ".".join(str(part) for part in mistake["loc"])
        if mistake["type"] == "extra_forbidden":
            near = difflib.get_close_matches(str(mistake["loc"][-1]), _keys(mistake["loc"][:-1]), 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            lines.append(f"unknown key {where}{hint} `isthmus config recipe` lists every key")
        else:
            lines.append(f"{where}: {mistake['msg']}" if where else mistake["msg"])
    return "; ".join(lines)


def _keys(section: tuple[int | str, ...]) -> list[str]:
    model: type[BaseModel] = Recipe
    for part in section:
        inner = model.model_fields[str(part)].annotation
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return []
        model = inner
    return list(model.model_fields)
