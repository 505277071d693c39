"""What an encoder is: a frozen network from one or two modalities' media to native vectors.

The work is split where a service wants to split it: `prepare` is the CPU preprocessing of one
decoded item (thread-safe, no batch), `encode_prepared` runs the network on a batch of prepared
items. `encode` does both, for everyone who holds a list of media and wants vectors.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from connectors.errors import ConfigError, UnsupportedMedia
from connectors.modality import Media, Modality


@dataclass(frozen=True, slots=True)
class Prepared:
    """One item, ready for the network.

    `rows` is [windows, ...]: one row for most media; several for long audio, whose vector is the
    normalised mean over its windows. `length` (tokens, frames or points a row) lets a batcher put
    items of like length together. `given` is the number of tokens that a text had before it was cut to
    what its tower reads, None where nothing was lost; `understood` is false for a text of which the
    tower knows no word.
    """

    modality: Modality
    rows: Tensor
    length: int
    given: int | None = None
    understood: bool = True


@runtime_checkable
class Encoder(Protocol):
    """A frozen encoder, as spaces, training and the service see it."""

    @property
    def name(self) -> str:
        """Registry name, such as `compact/clip` or `open_clip/ViT-B-32-quickgelu`."""

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """What it embeds: one modality, or two for a two-tower model."""

    @property
    def dim(self) -> int:
        """Length of its native vectors."""

    @property
    def fingerprint(self) -> str:
        """`sha256:<hex>` over its weights and whatever else decides its vectors."""

    def prepare(self, media: Media, modality: Modality | None = None) -> Prepared:
        """Preprocess one decoded item. Raises `InvalidMedia` if it cannot be embedded."""

    def encode_prepared(self, batch: Sequence[Prepared]) -> Tensor:
        """Native vectors of items of one modality: float32 [n, dim] on the CPU, L2-normalised."""

    def encode(
        self, media: Sequence[Media], modality: Modality | None = None, batch_size: int = 32
    ) -> Tensor:
        """Native vectors of decoded media: float32 [n, dim] on the CPU, L2-normalised.

        `modality` may be left out where the encoder has one tower only.
        """


class TowerEncoder(nn.Module, ABC):
    """Base of every encoder in this package: batching and window means over one abstract network.

    A subclass sets `name`, `modalities`, `dim` and `fingerprint`, and writes `prepare` and
    `embed_rows`; it overrides `collate` where rows differ in shape (text). It says `reducible` if
    its network may run in another format than float32; `embed_rows` then converts what it is given.
    `quantisable` gives the parts that int8 leaves where they were; the others stay in float32.
    """

    reducible: ClassVar[bool] = False

    name: str
    modalities: tuple[Modality, ...]
    dim: int
    fingerprint: str

    @abstractmethod
    def prepare(self, media: Media, modality: Modality | None = None) -> Prepared:
        """Preprocess one decoded item; see `Encoder.prepare`."""

    @abstractmethod
    def embed_rows(self, modality: Modality, rows: Tensor) -> Tensor:
        """Run one tower: rows [r, ...] on the encoder's device -> [r, dim], not normalised."""

    def collate(self, modality: Modality, rows: Sequence[Tensor]) -> Tensor:
        """Join the items' rows along the first axis."""
        return torch.cat(list(rows))

    def quantisable(self) -> Iterable[nn.Module]:
        """The parts whose vectors keep a cosine of 0.999 to float32's with linear layers in int8."""
        return (self,)

    def packable(self) -> Iterable[nn.Module]:
        """Parts of the network whose linear layers are only ever called, so that `pack` may replace them."""
        return ()

    def resolve(self, modality: Modality | None) -> Modality:
        """The tower meant: the given one, or the only one.

        Raises `UnsupportedMedia` if the encoder lacks it or the choice is open.
        """
        if modality is None and len(self.modalities) == 1:
            return self.modalities[0]
        if modality not in self.modalities:
            offered = " or ".join(self.modalities)
            asked = "no modality" if modality is None else repr(modality)
            raise UnsupportedMedia(f"encoder {self.name} embeds {offered}; {asked} was asked for")
        return modality

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @torch.inference_mode()
    def encode_prepared(self, batch: Sequence[Prepared]) -> Tensor:
        """See `Encoder.encode_prepared`."""
        if not batch:
            return torch.zeros(0, self.dim)
        modality = batch[0].modality
        if any(item.modality != modality for item in batch):
            raise ValueError("a batch holds one modality")
        rows = self.collate(modality, [item.rows for item in batch])
        if self.device.type == "cuda":
            rows = rows.pin_memory()  # so that the copy runs beside another stream's batch
        rows = rows.to(self.device, non_blocking=True)
        vectors = F.normalize(self.embed_rows(modality, rows).float(), dim=-1)
        counts = torch.tensor([len(item.rows) for item in batch])
        if int(counts.max()) > 1:
            owner = torch.repeat_interleave(torch.arange(len(batch)), counts).to(vectors.device)
            sums = vectors.new_zeros(len(batch), self.dim).index_add_(0, owner, vectors)
            vectors = F.normalize(sums, dim=-1)
        return vectors.cpu()

    def encode(
        self, media: Sequence[Media], modality: Modality | None = None, batch_size: int = 32
    ) -> Tensor:
        """See `Encoder.encode`."""
        tower = self.resolve(modality)
        batches = [
            self.encode_prepared([self.prepare(m, tower) for m in media[i : i + batch_size]])
            for i in range(0, len(media), batch_size)
        ]
        return torch.cat(batches) if batches else torch.zeros(0, self.dim)


def choose_towers(
    name: str, asked: Sequence[Modality] | None, offered: tuple[Modality, ...]
) -> tuple[Modality, ...]:
    """The towers asked for, in the order they are offered; all of them if none were named.

    Raises `ConfigError` for one that encoder `name` does not have.
    """
    if asked is None:
        return offered
    unknown = [modality for modality in asked if modality not in offered]
    if unknown or not asked:
        raise ConfigError(f"encoder {name} has towers for {', '.join(offered)}, not {list(asked)}")
    return tuple(modality for modality in offered if modality in asked)
