"""Reading request bodies: JSON into a pydantic model, multipart into files and fields.

Raises `MalformedBody` for a body that is not JSON or not a form, and `InvalidRequest` for one that is not
what the operation takes; both name the field.
"""

import asyncio
import binascii
from collections.abc import AsyncIterator, Callable, Container, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import pybase64
from pydantic import TypeAdapter, ValidationError
from starlette.datastructures import UploadFile
from starlette.requests import Request

from connectors.errors import InvalidMedia, UnsupportedMedia
from service.engine.media_input import MediaInput
from service.errors import InvalidRequest, MalformedBody
from service.schemas.requests import Body, MediaBody
from service.schemas.validation import describe
from service.settings import MIB

Model = TypeVar("Model", bound=Body)
T = TypeVar("T")

INLINE_BYTES = 256 * 1024
"""Bodies up to this size are parsed on the event loop: a hop to a thread would take longer."""
FIELD_BYTES = 4 * MIB
"""Largest field of a form that is not a file."""
FILE_FIELDS = ("files", "file")
TEXT_FIELDS = ("texts", "text")


@dataclass(frozen=True, slots=True)
class Form:
    """A multipart body: its media, files first, and its other fields as they were written."""

    media: list[MediaInput]
    fields: dict[str, str]

    def json(self, name: str, kind: Any) -> Any:
        """Return a field's JSON as the type `kind`, None if left out or empty. Raises as the module says."""
        if not self.fields.get(name, "").strip():
            return None
        data = self.fields[name].encode("utf-8", "surrogatepass")
        return validate_json(TypeAdapter(kind), data, name, getattr(kind, "ADVICE", None))

    def fields_as(self, model: type[Model], *others: str) -> Model:
        """Return the fields, without `others`, as a model. Raises `InvalidRequest`."""
        try:
            return model.model_validate({k: v for k, v in self.fields.items() if k not in others})
        except ValidationError as error:
            raise InvalidRequest(*describe(error.errors())) from error


def is_multipart(request: Request) -> bool:
    """Return whether a request's body is a form."""
    return request.headers.get("content-type", "").lower().startswith("multipart/form-data")


async def read_json(request: Request, model: type[Model]) -> Model:
    """Read a request's JSON body into a model."""
    content_type = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if content_type != "application/json" and not content_type.endswith("+json"):
        raise MalformedBody(f"the body is {content_type}; send application/json", "content-type")
    body = await request.body()
    return await parsed(request, partial(validate_json, TypeAdapter(model), body, None, model.ADVICE))


async def parsed(request: Request, parse: Callable[[], T]) -> T:
    """Return what `parse` makes of a request's body, read before; it runs on a thread for a large one."""
    return await off_loop(parse, len(await request.body()))


async def off_loop(work: Callable[[], T], size: int) -> T:
    """Return the result of `work` on `size` bytes; it runs on a thread if they are many."""
    return work() if size <= INLINE_BYTES else await asyncio.to_thread(work)


@asynccontextmanager
async def read_form(request: Request, max_items: int) -> AsyncIterator[Form]:
    """Read a request's multipart body; large files are spooled to disk and deleted at the block's end."""
    spare = 16
    async with request.form(
        max_files=max_items, max_fields=max_items + spare, max_part_size=FIELD_BYTES
    ) as form:
        files: list[MediaInput] = []
        texts: list[MediaInput] = []
        fields: dict[str, str] = {}
        for name, value in form.multi_items():
            if isinstance(value, UploadFile):
                if name not in FILE_FIELDS:
                    raise InvalidRequest(f"field {name!r} holds a file; files go in the field 'files'", name)
                name = value.filename or f"files[{len(files)}]"
                files.append(
                    MediaInput(value.file, value.size or 0, name, value.content_type, filename=value.filename)
                )
            elif name in TEXT_FIELDS:
                texts.append(MediaInput.text(value, f"texts[{len(texts)}]"))
            elif name in FILE_FIELDS:
                raise InvalidRequest(
                    f"field {name!r} holds a text; send it as a file, with a file name", name
                )
            else:
                check_new(name, fields)
                fields[name] = value
        yield Form(files + texts, fields)


def media_input(body: MediaBody, name: str) -> MediaInput | InvalidMedia | UnsupportedMedia:
    """Return the media of a body as the engine takes it, or the error of its encoding.

    The body has some: its validation saw to that.
    """
    found = body.media()
    assert found is not None
    modality, value = found
    if modality == "text":
        return MediaInput.text(value, name)
    try:
        data, content_type = decode_base64(value, name)
    except (InvalidMedia, UnsupportedMedia) as error:
        return error
    return MediaInput(data, len(data), name, content_type, modality)


def decode_base64(value: str, name: str) -> tuple[bytes, str | None]:
    """Return the bytes of base64 or of a data: URI, and the URI's content type.

    Raises `InvalidMedia` or `UnsupportedMedia`.
    """
    content_type = None
    if value[:5].lower() == "data:":
        header, comma, value = value.partition(",")
        if not comma or not header.lower().endswith(";base64"):
            raise UnsupportedMedia(f"{name} is a data: URI that is not in base64")
        content_type = header[5:-7] or None
    elif value[:8].lower().startswith(("http://", "https://")):
        raise UnsupportedMedia(f"{name} is a URL; the service fetches nothing: send the file in base64")
    try:
        return pybase64.b64decode(value, validate=True), content_type
    except (binascii.Error, ValueError) as error:
        raise InvalidMedia(f"{name} is not base64: {error}") from error


def check_new(name: str, fields: Container[str]) -> None:
    """Raise `InvalidRequest` for a form's field that was there already: only one of them would count."""
    if name in fields:
        raise InvalidRequest(f"the form field {name!r} is there twice; send it once", name)


def validate_json(
    adapter: TypeAdapter[T], data: bytes, field: str | None = None, advice: Mapping[str, str] | None = None
) -> T:
    """Read JSON of the adapter's type. `field` is the form field it came in; for `advice` see `describe`."""
    try:
        return adapter.validate_json(data)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False)
        message, param = describe(errors, advice)
        where = f"{field}: {message}" if field else message
        path = ".".join(part for part in (field, param) if part) or None
        if errors[0]["type"] == "json_invalid":
            raise MalformedBody(where, path) from error
        raise InvalidRequest(where, path) from error
