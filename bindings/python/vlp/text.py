"""vlp's text engine: reports perturbed, tagged, cut into word pieces and into sections.

docs/text.md says what each part does. All functions release the GIL. Objects are immutable, may be shared by threads,
and are pickled by what they were made of, so that workers of a DataLoader may be forked or spawned. A `str` that cannot
be written as UTF-8 (lone surrogates) raises UnicodeEncodeError, which is a ValueError.
"""
from __future__ import annotations

import functools
import operator
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vlp._library import library

__all__ = ["Encoding", "Perturbations", "Perturbed", "Perturber", "Section", "TaggedWords", "Tagger", "WordPiece",
           "build_vocabulary", "normalise", "perturbations", "section", "sections", "sentences", "word_classes"]


class Perturbed(NamedTuple):
    """One perturbation of a report."""

    text: str  # the words, one space between two
    changed: bool  # whether the text differs from the report's
    order: tuple[int, ...]  # the place in the report of the word that stands here


class Perturbations(NamedTuple):
    """A report and its perturbations. PyTorch's default collation of several gives batches of each field."""

    original: str  # the report's words as perturbations have them: normalised and cut to max_words
    texts: list[str]  # the perturbations, in their order
    changed: list[bool]  # for each whether it differs from `original`; this is a loss's `valid`


class TaggedWords(NamedTuple):
    """The words of a normalised report and their classes."""

    words: list[str]
    classes: list[str]  # "noun", "adjective", "verb" or "other" for each word


class Section(NamedTuple):
    """A section of a report."""

    name: str  # of its header, lower case; empty for text without one
    body: str  # what follows the header, without white space at its ends


class Encoding(NamedTuple):
    """Word pieces of a text, as lists of [pieces], or of texts, as int64 arrays of [texts, pieces]."""

    ids: Any  # the numbers of the pieces (input_ids)
    mask: Any  # 1 for pieces, 0 for padding (attention_mask)
    type_ids: Any  # 0 up to the first [SEP], 1 for the second text (token_type_ids)
    words: Any  # the word that a piece comes from, counted from 0; -1 for special pieces and padding


@functools.cache
def _module() -> Any:
    return library("cpu").module


@functools.cache
def _facts() -> dict[str, Any]:
    """The engine's lists of names and its defaults."""
    return {str(name): value if isinstance(value, int) else tuple(str(one) for one in value)
            for name, value in _module().text_facts().items()}


def perturbations() -> tuple[str, ...]:
    """The names of the nine perturbations, in order."""
    return _facts()["perturbations"]


def word_classes() -> tuple[str, ...]:
    """The names of the classes of words."""
    return _facts()["word_classes"]


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, but is of type {type(value).__name__}")
    return value


def _texts(name: str, values: Iterable[str]) -> list[str]:
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise TypeError(f"{name} must be several str, but is one value of type {type(values).__name__}")
    values = list(values)
    for i, value in enumerate(values):
        if not isinstance(value, str):
            raise TypeError(f"{name}[{i}] must be a str, but is of type {type(value).__name__}")
    return values


def _whole(name: str, value: Any, most: int = 2**63 - 1) -> int:
    """The number that a whole number of any kind stands for."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be a whole number, but is of type {type(value).__name__}") from None
    if not 0 <= number <= most:
        raise ValueError(f"{name} must be from 0 to {most}, but is {number}")
    return number


_ADDRESS = 2**32 - 1  # the most that an epoch or an index may be


def _numbers(packed: bytes, begin: int) -> tuple[list[int], int]:
    """The 32-bit numbers that begin there, after their count, and where they end."""
    end = begin + 4 + 4 * int.from_bytes(packed[begin:begin + 4], sys.byteorder)
    return memoryview(packed)[begin + 4:end].cast("i").tolist(), end


def _max_words(value: int | None) -> int | None:
    return None if value is None else _whole("max_words", value)


def normalise(report: str, max_words: int | None = 50) -> str:
    """The report in lower case, without sentence punctuation, and with its first `max_words` words; None keeps all.

    Perturbations, taggers and word pieces number words as this does.
    """
    return str(_module().normalise(_text("report", report), _max_words(max_words)))


def sections(report: str, names: str = "as_written") -> list[Section]:
    """The sections of a report in order, found by their headers.

    `names` is "as_written" or, for usual variants and misspellings under one name, "canonical".
    """
    flat = [str(one) for one in _module().sections(_text("report", report), _text("names", names))]
    return [Section(*pair) for pair in zip(flat[::2], flat[1::2])]


def section(report: str, name: str, names: str = "as_written") -> str:
    """The body of the last section of that name, such as "findings" or "impression", that is not empty, or ""."""
    return str(_module().section(_text("report", report), _text("name", name), _text("names", names)))


def sentences(report: str) -> list[str]:
    """The sentences of a report in order, as it writes them."""
    return [str(one) for one in _module().sentences(_text("report", report))]


def build_vocabulary(texts: Iterable[str], size: int = 4096, min_count: int = 2) -> list[str]:
    """At most `size` word pieces of texts: special pieces, all characters, and pairs merged by how often they are seen.

    Pairs seen less than `min_count` times are not merged. Raises ValueError where `size` cannot hold the characters.
    """
    lines = _module().build_vocabulary(_texts("texts", texts), _whole("size", size), _whole("min_count", min_count))
    return lines.split("\n")[:-1]


class _Immutable:
    """An object that is the values of its _state(): equal, hashed, pickled and copied by them."""

    __slots__ = ()

    def _state(self) -> tuple[Any, ...]:
        raise NotImplementedError

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._state()

    def __eq__(self, other: object) -> bool:
        return self._state() == other._state() if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash((type(self), self._state()))

    def __copy__(self) -> _Immutable:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> _Immutable:
        return self


class Tagger(_Immutable):
    """Gives words their classes, which perturbations go by, with the perceptron that comes with vlp.

    `max_words` words of a report are kept, all with None.
    """

    __slots__ = ("_lines", "max_words")

    def __init__(self, max_words: int | None = 50) -> None:
        self.max_words = _max_words(max_words)
        self._lines = _module().make_tagger(self.max_words)

    def _state(self) -> tuple[Any, ...]:
        return (self.max_words,)

    def __repr__(self) -> str:
        return f"Tagger(max_words={self.max_words})"

    def __call__(self, report: str) -> TaggedWords:
        """The words of a report and their classes."""
        return self._read(self._lines((_text("report", report),), 1))[0]

    def batch(self, reports: Iterable[str], threads: int = 1) -> list[TaggedWords]:
        """The same for each report, on so many threads, 0 for all."""
        reports = _texts("reports", reports)
        return self._read(self._lines(reports, _whole("threads", threads))) if reports else []

    @staticmethod
    def _read(lines: str) -> list[TaggedWords]:
        known, lines = word_classes(), lines.split("\n")
        return [TaggedWords(text.split(" ") if text else [], [known[int(one)] for one in classes])
                for text, classes in zip(lines[::2], lines[1::2])]


class Perturber(_Immutable):
    """Perturbs reports: the same words in an order that no longer says what the image shows.

    A draw depends on (seed, perturbation, epoch, index), the words and the opposites alone, so that it is the same on
    every machine, thread and worker. `index` is the report's number in its data set; epochs and indices are below
    2**32, and seeds below 2**64 (ValueError otherwise).

    `scope` is "report" or "sentence", the unit within which words move. `max_words` words of a report are kept, all
    with None. `perturbations` are names or numbers from 1 to 9, all nine by default. `antonyms` are pairs of opposites,
    each of which holds both ways, instead of radiology's; `wordnet` is the folder of WordNet's data.adj, which is asked
    about words that these do not know.
    """

    __slots__ = ("_all", "_one", "antonyms", "max_words", "perturbations", "scope", "seed", "wordnet")

    def __init__(self, seed: int = 0, scope: str = "report", max_words: int | None = 50,
                 perturbations: Iterable[str | int] | None = None,
                 antonyms: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
                 wordnet: str | os.PathLike[str] | None = None) -> None:
        self.seed = _whole("seed", seed, 2**64 - 1)
        self.scope = _text("scope", scope)
        self.max_words = _max_words(max_words)
        self.perturbations = _names(perturbations)
        self.antonyms = None if antonyms is None else _pairs(antonyms)
        self.wordnet = None if wordnet is None else os.fspath(wordnet)
        if self.wordnet is not None:
            open(Path(self.wordnet) / "data.adj", "rb").close()  # OSError where it cannot be read
        made = _module().make_perturber(
            self.seed - (2**64 if self.seed >= 2**63 else 0), self.scope, self.max_words, self.perturbations,
            None if self.antonyms is None else tuple(word for pair in self.antonyms for word in pair),
            None if self.wordnet is None else os.fsencode(self.wordnet))
        self._all, self._one = made["all"], made["one"]

    def _state(self) -> tuple[Any, ...]:
        return self.seed, self.scope, self.max_words, self.perturbations, self.antonyms, self.wordnet

    def __repr__(self) -> str:
        names = ("seed", "scope", "max_words", "perturbations", "antonyms", "wordnet")
        return f"Perturber({', '.join(f'{name}={value!r}' for name, value in zip(names, self._state()))})"

    def all(self, report: str, epoch: int, index: int) -> Perturbations:
        """The report and its perturbations in `epoch`."""
        lines = self._all((_text("report", report),), _whole("epoch", epoch, _ADDRESS),
                          (_whole("index", index, _ADDRESS),), 1).split("\n")
        return Perturbations(lines[1], lines[2:], [one == "1" for one in lines[0]])

    def one(self, report: str, perturbation: str | int, epoch: int, index: int) -> Perturbed:
        """One perturbation of the report, by name or number, whether or not it is among `perturbations`."""
        out = self._one(_text("report", report), _name(perturbation), _whole("epoch", epoch, _ADDRESS),
                        _whole("index", index, _ADDRESS))
        order, end = _numbers(out, 0)
        return Perturbed(out[end + 1:].decode(), out[end:end + 1] == b"1", tuple(order))

    def batch(self, reports: Iterable[str], epoch: int, indices: Iterable[int] | None = None,
              threads: int = 1) -> list[Perturbations]:
        """The same as `all` for each report, on so many threads, 0 for all. Without `indices` they count from 0."""
        reports = _texts("reports", reports)
        indices = range(len(reports)) if indices is None else [_whole("index", one, _ADDRESS) for one in indices]
        if len(indices) != len(reports):
            raise ValueError(f"there are {len(indices)} indices for {len(reports)} reports")
        epoch, threads = _whole("epoch", epoch, _ADDRESS), _whole("threads", threads)
        if not reports:
            return []
        lines = self._all(reports, epoch, tuple(indices), threads).split("\n")
        step = 2 + len(self.perturbations)
        return [Perturbations(lines[at + 1], lines[at + 2:at + step], [one == "1" for one in lines[at]])
                for at in range(0, len(lines), step)]


def _name(perturbation: str | int) -> str:
    """The name of a perturbation; the library refuses what is none."""
    if isinstance(perturbation, str):
        return perturbation
    try:
        number = operator.index(perturbation)
    except TypeError:
        raise TypeError("a perturbation is a name or a number from 1 to 9, but one is of type "
                        f"{type(perturbation).__name__}") from None
    return dict(enumerate(perturbations(), 1)).get(number, str(number))


def _names(given: Iterable[str | int] | None) -> tuple[str, ...]:
    if given is None:
        return perturbations()
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise TypeError(f"perturbations must be several, but are one value of type {type(given).__name__}")
    return tuple(_name(one) for one in given)


def _pairs(given: Mapping[str, str] | Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    pairs = tuple(tuple(pair) for pair in (given.items() if isinstance(given, Mapping) else given))
    for pair in pairs:
        if len(pair) != 2 or not all(isinstance(word, str) for word in pair):
            raise TypeError(f"antonyms must be pairs of str, but one is {pair!r}")
    return pairs


class WordPiece(_Immutable):
    """BERT's uncased tokeniser.

    `vocabulary` is the path of a file with one piece a line (BERT's vocab.txt), or a list of pieces. Raises ValueError,
    with file and line, for what is no vocabulary, and OSError for a file that cannot be read. A pickled tokeniser holds
    the pieces and not the path.
    """

    __slots__ = ("_all", "_one", "_vocabulary", "begin_of_text", "end_of_text", "notes", "pad", "pieces",
                 "unknown")

    pieces: tuple[str, ...]  # by number
    notes: tuple[str, ...]  # sentences about lines of the file that are no pieces
    pad: int  # the number of [PAD]
    unknown: int  # the number of [UNK]
    begin_of_text: int  # the number of [CLS]
    end_of_text: int  # the number of [SEP]

    def __init__(self, vocabulary: str | os.PathLike[str] | Sequence[str]) -> None:
        if isinstance(vocabulary, (str, os.PathLike)):
            path = Path(vocabulary)
            self._make(path.read_bytes(), f"vocabulary {path}")
        else:
            self._make(tuple(_texts("vocabulary", vocabulary)), "")

    def _make(self, vocabulary: bytes | tuple[str, ...], source: str) -> None:
        self._vocabulary = vocabulary, source
        made = (_module().make_word_piece(vocabulary, source.encode(errors="replace").decode())
                if isinstance(vocabulary, bytes) else _module().make_word_piece_of_list(vocabulary))
        self._all, self._one = made["all"], made["one"]
        self.pieces = tuple(made["pieces"].split("\n")[:-1])
        self.notes = tuple(str(one) for one in made["notes"])
        self.pad, self.unknown, self.begin_of_text, self.end_of_text = made["special"]

    @classmethod
    def _of(cls, vocabulary: bytes | tuple[str, ...], source: str) -> WordPiece:
        out = cls.__new__(cls)
        out._make(vocabulary, source)
        return out

    def _state(self) -> tuple[Any, ...]:
        return self._vocabulary

    def __reduce__(self) -> tuple[Any, ...]:
        return WordPiece._of, self._state()

    def __repr__(self) -> str:
        return f"WordPiece({len(self)} pieces)"

    def __len__(self) -> int:
        return len(self.pieces)

    def encode(self, text: str, pair: str | None = None, max_pieces: int = 512) -> Encoding:
        """The pieces of a text, or of a pair of texts, between special pieces, at most `max_pieces` in all, as lists.

        A text that does not fit loses pieces at its end, and of a pair the longer text does. Raises ValueError where
        `max_pieces` cannot hold the special pieces.
        """
        out = self._one(_text("text", text), None if pair is None else _text("pair", pair),
                        _whole("max_pieces", max_pieces))
        ids, end = _numbers(out, 0)
        type_ids, end = _numbers(out, end)
        return Encoding(ids, [1] * len(ids), type_ids, _numbers(out, end)[0])

    def batch(self, texts: Iterable[str], pairs: Iterable[str] | None = None, max_pieces: int = 512,
              to_longest: bool = True, threads: int = 1) -> Encoding:
        """The same for each text as int64 arrays of [texts, pieces], padded to the longest text, or to max_pieces."""
        import numpy

        texts = _texts("texts", texts)
        pairs = None if pairs is None else _texts("pairs", pairs)
        return Encoding(*numpy.from_dlpack(self._all(texts, pairs, _whole("max_pieces", max_pieces), bool(to_longest),
                                                     _whole("threads", threads))))
