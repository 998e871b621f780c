"""Turn the bytes of a text file into text, and never into other letters."""

from __future__ import annotations

import codecs

from agwm.errors import DataError, shown

__all__ = ["decode"]

# The longer marks first: UTF-32's begins as UTF-16's does.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_REMEDY = "Pass --encoding, for example --encoding cp1252 or latin-1, or save it as UTF-8."
_WIDE = "Pass --encoding utf-16-le if it is UTF-16 without a byte order mark, or write it again."


def decode(data: bytes, place: str, encoding: str | None = None) -> tuple[str, list[str]]:
    """Decode a text file: UTF-8, or the encoding of its byte order mark, or the one that is asked for.

    Args:
        data: All bytes.
        place: The file, for messages.
        encoding: A name that Python knows; None: UTF-8, or by the mark.

    Returns:
        The text without a byte order mark, and notes on what was found.

    Raises:
        DataError: If the encoding is unknown or not that of the file, or a NUL is in the text.
    """
    found = next((name for mark, name in _MARKS if data.startswith(mark)), None)
    notes = []
    if found is not None:
        if found != "utf-8":
            notes.append(f"{found.upper()} found by its byte order mark")
        text = _decoded(data, place, found).removeprefix("\ufeff")
        if encoding is not None and _asked(data, place, encoding) not in (text, f"\ufeff{text}"):
            raise DataError(
                f"{place} is not {shown(encoding)}: expected no byte order mark, got that of {found}."
                " Leave --encoding out."
            )
    elif encoding is None:
        text = _decoded(data, place, "utf-8")
    else:
        text = _asked(data, place, encoding)
        notes.append(f"read as {codecs.lookup(encoding).name}")
        _check_letters(data, text, place, encoding)
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise DataError(f"{place} line {line} holds a NUL: expected text, got what no text has. {_WIDE}")
    return text, notes


def _asked(data: bytes, place: str, encoding: str) -> str:
    try:
        return _decoded(data, place, encoding)
    except LookupError:
        raise DataError(
            f"Unknown encoding {shown(encoding)}: expected a name such as utf-8, cp1252 or gb18030. Correct"
            " --encoding."
        ) from None


def _decoded(data: bytes, place: str, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line, byte = data.count(b"\n", 0, error.start) + 1, data[error.start]
        raise DataError(
            f"{place} is not {_upper(encoding)}: expected it throughout, got at offset {error.start} a byte"
            f" that cannot be decoded (line {line}, 0x{byte:02x}). {_WIDE if bytes(1) in data else _REMEDY}"
        ) from None
    except UnicodeError:  # codecs of host names
        raise DataError(
            f"{place} is not {_upper(encoding)}: expected it throughout, got other bytes. {_REMEDY}"
        ) from None
    except ValueError:  # a name with a NUL
        raise LookupError(encoding) from None


def _upper(encoding: str) -> str:
    return shown(encoding, 40)[1:-1].upper()


def _check_letters(data: bytes, text: str, place: str, encoding: str) -> None:
    """Raise where an encoding of one byte a letter reads anything, and so makes other letters of it.

    Raises:
        DataError: If the bytes are UTF-8, or letters that Windows alone has are read as controls.
    """
    if data.isascii():
        return
    try:
        is_utf8 = data.decode("utf-8") != text
    except UnicodeDecodeError:
        is_utf8 = False
    if is_utf8:
        raise DataError(
            f"{place} is UTF-8: expected {shown(encoding)} as --encoding says, and no text that is valid"
            " UTF-8. Leave --encoding out, or save both files in one encoding."
        )
    if codecs.lookup(encoding).name.startswith("iso8859") and any("\x80" <= c <= "\x9f" for c in set(text)):
        raise DataError(
            f"{place} is not {shown(encoding)}: expected letters, got control characters (bytes 0x80 to"
            " 0x9f). Pass --encoding cp1252 if it comes from Windows."
        )
