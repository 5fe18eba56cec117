"""Texts that many packed values share, as small numbers; and short forms of ids. Used by `resting` and `openwaits`."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

from topics.keys import DIGEST_BYTES

Text = int | str | None
"""The number of a text, the text itself where it has none, or none at all."""
_MOST: Final = 4_096
"""Texts that get a number: what is different each time does not fill the memory."""
_LONGEST: Final = 256
_KEY: Final = blake2b(digest_size=8)
_HEX: Final = 2 * DIGEST_BYTES


class Texts:
    __slots__ = ("_numbers", "texts")

    def __init__(self, texts: Sequence[str] = ()) -> None:
        self.texts = list(texts)
        self._numbers = {text: number for number, text in enumerate(self.texts)}

    def short(self, text: str | None) -> Text:
        """Return the number of a text, which it gets now if there is room."""
        if text is None:
            return None
        number = self._numbers.get(text)
        if number is not None:
            return number
        if len(self.texts) >= _MOST or len(text) > _LONGEST:
            return text
        self._numbers[text] = len(self.texts)
        self.texts.append(text)
        return len(self.texts) - 1

    def full(self, short: Text) -> str | None:
        return self.texts[short] if isinstance(short, int) else short

    def text(self, short: Text) -> str:
        """Return a text that is there."""
        found = self.full(short)
        if found is None:
            raise TypeError("there is no text")
        return found

    def id_of(self, run_id: str) -> tuple[Text | list[str], bytes]:
        """Return what stands before the digest in the id of a run, and the digest. One without it is kept as it is."""
        try:
            digest = bytes.fromhex(run_id[-_HEX:])
        except ValueError:
            digest = b""
        if digest.hex() != run_id[-_HEX:] or len(digest) != DIGEST_BYTES:
            return [run_id], bytes(DIGEST_BYTES)
        return self.short(run_id[:-_HEX]), digest

    def id(self, short: Text | list[str], digest: bytes) -> str:
        return short[0] if isinstance(short, list) else self.text(short) + digest.hex()


def key_of_run(run_id: str) -> bytes:
    """Return the key of a run: the end of its digest, which all runs of one event share."""
    try:
        key = bytes.fromhex(run_id[-16:])
    except ValueError:
        return key_of(run_id)
    return key if len(key) == 8 else key_of(run_id)


def key_of(text: str) -> bytes:
    """Return the key of a text in a packed table. Two texts may share one, though hardly ever."""
    hashed = _KEY.copy()
    hashed.update(text.encode(errors="surrogatepass"))
    return hashed.digest()
