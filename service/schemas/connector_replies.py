"""The replies that show connectors and releases; see `service.schemas.replies`."""

from pydantic import BaseModel


class MeasuredFigure(BaseModel):
    """A measured number, its level by chance, and its 95 % interval."""

    value: float
    chance: float | None = None
    low: float | None = None
    high: float | None = None


class Measurement(BaseModel):
    """The figures of one task on one set of data; `counts` are of the items it was measured on."""

    dataset: str
    task: str
    what: str
    vectors: str
    figures: dict[str, MeasuredFigure]
    counts: dict[str, int] = {}


class ConnectorMetrics(BaseModel):
    """The measurements a connector was published with: scores by system, and figures of the trained one."""

    scores: dict[str, float] = {}
    measurements: list[Measurement] = []


class ConnectorReply(BaseModel):
    """A connector in use; `heads` names the projectors of each 'space/modality'."""

    version: str
    method: str
    base: str | None
    dim: int
    heads: dict[str, list[str]]
    created: str
    metrics: ConnectorMetrics
    seed: int | None = None


class ReleaseReply(BaseModel):
    """A set of connectors that together make a unified space."""

    version: str
    origin: str
    active: bool
    former: bool
    calibrated: bool
    created: str | None
    connectors: list[str]


class ConnectorsReply(BaseModel):
    """The reply of `GET /connectors`."""

    active: str
    former: str | None
    bundle: str
    dim: int
    spaces: dict[str, list[str]]
    connectors: list[ConnectorReply]
    available: list[ReleaseReply]
