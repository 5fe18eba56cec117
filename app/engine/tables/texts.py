"""Texts that many packed values share, as small numbers; and short forms of ids. Used by all tables that pack."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

from topics.keys import DIGEST_BYTES

Text = int | str | None
"""The number of a text, the text itself where it has none, or none at all."""
Cut = Text | list[int | str]
"""A text, or its pieces: numbers of texts, texts, and below 0 the numbers of the value's own (`Pieces`)."""
_MOST: Final = 4_096
"""Texts that get a number: what is different each time does not fill the memory."""
_ONCE: Final = 256
"""Texts that one value has had, so far: with the next one they get a number."""
_LONGEST: Final = 256
_LEAST: Final = 3
"""Characters of a text that is looked for in others of its value."""
_KEY: Final = blake2b(digest_size=8)
_HEX: Final = 2 * DIGEST_BYTES


class Texts:
    __slots__ = ("_numbers", "_once", "texts")

    def __init__(self, texts: Sequence[str] = ()) -> None:
        self.texts = list(texts)
        self._numbers = {text: number for number, text in enumerate(self.texts)}
        self._once: dict[str, bytes] = {}

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

    def number(self, text: str) -> int | None:
        """Return the number of a text, if it has one."""
        return self._numbers.get(text)

    def shared(self, text: str | None, whose: bytes) -> Text:
        """Return the number of a text, which it gets with the second value that has it: one of its own gets none."""
        number = None if text is None else self._numbers.get(text)
        if number is not None:
            return number
        if text is None or len(text) > _LONGEST:
            return text
        if self._once.setdefault(text, whose) != whose:
            del self._once[text]
            return self.short(text)
        if len(self._once) > _ONCE:
            self._once.clear()
        return text

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

    def around(self, name: str) -> tuple[Text, bytes, Text]:
        """Return what stands before the digest of a run's id in a name, the digest, and what stands behind it.

        Of a name without one the first is None. One with it is made again from the three.
        """
        at = name.find(":") + 1
        try:
            digest = bytes.fromhex(name[at : at + _HEX])
        except ValueError:
            return None, b"", None
        if len(digest) != DIGEST_BYTES or digest.hex() != name[at : at + _HEX]:
            return None, b"", None
        return self.shared(name[:at], digest), digest, self.shared(name[at + _HEX :], digest)


class Pieces:
    """The texts of one packed value. What others share is a number, and so is what stood in this value before.

    They must be read in the order in which they were written.
    """

    __slots__ = ("_own", "_texts", "_whose")

    def __init__(self, texts: Texts, digest: bytes) -> None:
        self._texts = texts
        self._whose = digest
        self._own = [digest.hex()]

    def cut(self, text: str | None) -> Cut:
        if text is None:
            return None
        number = self._texts.number(text)
        if number is not None:
            return number
        pieces = self._without_own(text)
        if len(pieces) == 1 and pieces[0] == text:
            found = self._texts.shared(text, self._whose)
            if type(found) is int:
                return found
            if "/" in text:
                *segments, last = text.split("/")  # of a topic some are shared
                pieces = [*[f"{one}/" for one in segments], last]
        self._remember(text)
        if len(pieces) == 1:
            return text if pieces[0] == text else pieces
        made: list[int | str] = []
        for piece in pieces:
            if type(piece) is int:
                made.append(piece)
            elif piece:
                short = self._texts.shared(piece, self._whose)  # type: ignore[arg-type]
                if type(short) is str and made and type(made[-1]) is str:
                    made[-1] += short
                else:
                    made.append(short)  # type: ignore[arg-type]
        return text if made == [text] else made

    def _without_own(self, text: str) -> list[int | str]:
        """Return the text in pieces, with numbers for those that stood in the value before."""
        pieces: list[int | str] = [text]
        for number, own in enumerate(self._own, 1):
            if own in text:
                before, pieces = pieces, []
                for piece in before:
                    if type(piece) is str:
                        for part in piece.split(own):
                            pieces += (part, -number)
                        pieces.pop()
                    else:
                        pieces.append(piece)
        return pieces

    def full(self, cut: Cut) -> str | None:
        """Return a text from what `cut` made of it."""
        if type(cut) is list:
            own, texts = self._own, self._texts
            made = "".join([texts.text(one) if type(one) is str or one >= 0 else own[-one - 1] for one in cut])  # type: ignore[operator]
        elif type(cut) is str:
            made = cut
        else:
            return self._texts.full(cut)  # type: ignore[arg-type]
        self._remember(made)
        return made

    def text(self, cut: Cut) -> str:
        """Return a text that is there."""
        found = self.full(cut)
        if found is None:
            raise TypeError("there is no text")
        return found

    def _remember(self, text: str) -> None:
        if len(text) >= _LEAST:
            self._own.append(text)


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
