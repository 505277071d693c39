"""Text from bytes: UTF-8 in, a stripped `str` out."""

from connectors.media.source import Source


def decode(source: Source) -> str:
    """Return the text without a byte order mark and surrounding white space.

    Raises `InvalidMedia` if it is not UTF-8 or nothing is left, `MediaTooLarge` past
    `max_characters`.
    """
    try:
        text = source.data.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise source.invalid(f"is not UTF-8 text (byte {error.start:,})") from error
    if not text:
        raise source.invalid("holds no text")
    if len(text) > source.limits.max_characters:
        raise source.too_large(f"{len(text):,} characters", f"{source.limits.max_characters:,}")
    return text
