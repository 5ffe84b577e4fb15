"""vlp.text gives what the C++ engine gives, refuses what it cannot take, and crosses threads and processes."""
import copy
import ctypes
import gc
import multiprocessing
import os
import pickle
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

pytest.importorskip("tvm_ffi", reason="vlp's libraries are called through apache-tvm-ffi")
from counting import counting  # noqa: E402

from vlp import text  # noqa: E402

ROOT = Path(__file__).resolve().parents[3]
REPORT = "There is a small left pleural effusion. The heart is mildly enlarged, lungs are clear."
# The texts of "the draws are the same on every platform" in tests/text/perturber_test.cpp.
DRAWS = """there is a pleural left enlarged, heart the effusion is mildly small lungs are clear
there are the small left pleural effusion is heart mildly is enlarged, lungs a clear
there is a left pleural small heart effusion the enlarged, is mildly clear lungs are
effusion the heart there is a lungs are clear is mildly enlarged, small left pleural
heart pleural there the a is lungs enlarged, clear small effusion left is are mildly
clear are lungs enlarged, mildly is heart the effusion pleural left small a is there
there is a effusion left heart enlarged, the are small mildly lungs is pleural clear
there is a big right pleural effusion the heart is mildly normal-sized, lungs are opacified
is there small a pleural left the effusion is heart enlarged, mildly are lungs clear""".split("\n")
HARD_PIECES = ("[PAD] [UNK] [CLS] [SEP] [MASK] the lung ##s are clear , . - ' t s don un ##aff ##able naive ##ly cafe "
               "a ##b ##c b pleur ##al ##eff effusion").split()
HOSTILE = ["", " ", "\0", "a\0b\0", "\n\r\n", "....", "\u00a0\ufeff", "\u2028\u0085\x1c", "e\u0301" * 500, "😀" * 99,
           "x" * 100_000, "a b " * 20_000, "____\nFINDINGS:", "\x7f\x1b[2J", "a\u202eb"]
NOT_TEXT = [None, 1, 1.5, b"bytes", ["list"], object(), bytearray(b"x")]


def reports(count):
    """Literal reports of several lengths."""
    parts = ["The left lung is clear.", "No pleural effusion!", "Heart size: normal", "Small calcified granuloma",
             "in the right upper lobe", "(unchanged)", "Stable."]
    return [" ".join(parts[(i + k * k) % 7] for k in range(i % 9)) for i in range(count)]


def test_draws_are_those_of_the_engine():
    out = text.Perturber(seed=2024).all(REPORT, 3, 7)
    assert out.texts == DRAWS
    assert out.original == "there is a small left pleural effusion the heart is mildly enlarged, lungs are clear"
    assert out.changed == [True] * 9
    assert all(type(one) is str for one in out.texts) and all(type(one) is bool for one in out.changed)


@pytest.mark.parametrize("scope", ["report", "sentence"])
def test_one_is_one_of_all_and_order_explains_it(scope):
    perturber = text.Perturber(seed=5, scope=scope)
    for i, report in enumerate(reports(30)):
        out = perturber.all(report, 2, i)
        words = out.original.split()
        for number, name in enumerate(text.perturbations(), 1):
            one = perturber.one(report, name, 2, i)
            assert one == perturber.one(report, number, 2, i)
            assert (one.text, one.changed) == (out.texts[number - 1], out.changed[number - 1])
            assert one.changed == (one.text != out.original)
            assert sorted(one.order) == list(range(len(words))) and all(type(at) is int for at in one.order)
            if name != "replace_adjectives_with_antonyms":
                assert one.text.split() == [words[at] for at in one.order]


def test_options_are_the_engines():
    facts = text._facts()
    assert len(text.perturbations()) == 9 and text.perturbations()[5] == "reverse_sentence"
    assert text.word_classes() == ("noun", "adjective", "verb", "other")
    defaults = text.Perturber()
    assert (defaults.seed, defaults.scope, defaults.max_words) == (0, facts["scopes"][0], facts["max_words"])
    assert text.Tagger().max_words == facts["max_words"]
    assert text.build_vocabulary.__defaults__ == (facts["vocabulary_size"], facts["min_count"])
    assert text.normalise("w " * 99).count("w") == text.normalise.__defaults__[0] == facts["max_words"]
    long = "word " * 99
    assert len(text.Perturber(max_words=None).all(long, 0, 0).original.split()) == 99
    assert len(text.Perturber(max_words=7).all(long, 0, 0).original.split()) == 7
    assert text.Perturber(scope="sentence").one("A b c. D e f.", "reverse_sentence", 0, 0).text == "c b a f e d"


def test_seeds_epochs_and_indices_of_all_sizes():
    draws = {text.Perturber(seed=seed).one(REPORT, 5, epoch, index).text
             for seed in (0, 2**32, 2**63, 2**64 - 1) for epoch in (0, 2**32 - 1) for index in (0, 2**32 - 1)}
    assert len(draws) == 16
    perturber = text.Perturber()
    for bad in (-1, 2**32, 2**63, 2**64, 2**70):
        for call in (lambda: perturber.all(REPORT, bad, 0), lambda: perturber.all(REPORT, 0, bad),
                     lambda: perturber.one(REPORT, 1, bad, 0), lambda: perturber.one(REPORT, 1, 0, bad),
                     lambda: perturber.batch([REPORT], bad), lambda: perturber.batch([REPORT], 0, [bad])):
            with pytest.raises(ValueError, match="must be from 0 to 4294967295, but is"):
                call()
    for bad in (-1, 2**64, 2**70):
        with pytest.raises(ValueError, match="seed must be from 0 to 18446744073709551615"):
            text.Perturber(seed=bad)
    for bad in (1.0, "1", None, b"1", [1]):
        with pytest.raises(TypeError, match="index must be a whole number, but is of type"):
            perturber.all(REPORT, 0, bad)
    numpy = pytest.importorskip("numpy", reason="NumPy's whole numbers")
    assert perturber.all(REPORT, numpy.int32(3), numpy.uint64(7)) == perturber.all(REPORT, 3, 7)


def test_subsets_keep_their_order():
    subset = text.Perturber(seed=2024, perturbations=["swap_adjacent_words", 3, "6"])
    assert subset.all(REPORT, 3, 7).texts == [DRAWS[8], DRAWS[2], DRAWS[5]]  # of words that are not tagged
    assert subset == text.Perturber(seed=2024, perturbations=("swap_adjacent_words", "shuffle_within_trigrams", "6"))
    assert subset.batch([REPORT] * 2, 3, [7, 7])[1].texts == subset.all(REPORT, 3, 7).texts
    assert text.Perturber(perturbations=[]).all(REPORT, 0, 0)[1:] == ([], [])
    for bad in ("nonsense", "all", "1,2", "", 0, 10, -1, 2**70):
        with pytest.raises(ValueError, match="neither a name nor a number from 1 to 9"):
            text.Perturber(perturbations=[bad])
        with pytest.raises(ValueError, match="neither a name nor a number from 1 to 9"):
            text.Perturber().one(REPORT, bad, 0, 0)
    for bad in ([1.5], [None], "reverse_sentence", 3):
        with pytest.raises(TypeError):
            text.Perturber(perturbations=bad)


def test_antonyms_of_the_callers():
    perturber = text.Perturber(antonyms={"clear": "hazy", "left": "right"})
    assert perturber.one("The left lung is clear.", 8, 0, 0).text == "the right lung is hazy"
    assert perturber == text.Perturber(antonyms=[("clear", "hazy"), ("left", "right")])
    assert not text.Perturber(antonyms=[]).one("The left lung is clear.", 8, 0, 0).changed
    for bad, kind in (([("a", "a")], ValueError), ([("a b", "c")], ValueError), ([("", "c")], ValueError),
                      ([("a",)], TypeError), ([("a", 1)], TypeError), (["abc"], TypeError), (5, TypeError)):
        with pytest.raises(kind):
            text.Perturber(antonyms=bad)


def test_wordnet(tmp_path):
    with pytest.raises(OSError):
        text.Perturber(wordnet=tmp_path)
    (tmp_path / "data.adj").write_text("nonsense\n")
    with pytest.raises(ValueError, match="data.adj"):
        text.Perturber(wordnet=tmp_path)
    (tmp_path / "data.adj").write_text("00000000 00 s 01 rosy 0 001 ! 00000045 a 0101 | pink\n"
                                       "00000045 00 a 01 ashen 0 001 ! 00000000 a 0101 | grey\n")
    try:
        perturber = text.Perturber(wordnet=str(tmp_path))
    except ValueError as error:  # the form of WordNet's lines is tested in tests/text
        pytest.skip(f"the literal WordNet is refused: {error}")
    assert pickle.loads(pickle.dumps(perturber)).wordnet == str(tmp_path)


def test_batches_equal_single_calls_on_any_threads():
    many = reports(300) + HOSTILE[:9]
    perturber, tagger = text.Perturber(seed=9), text.Tagger()
    alone = [perturber.all(report, 4, i) for i, report in enumerate(many)]
    tagged = [tagger(report) for report in many]
    for threads in (0, 1, 3):
        assert perturber.batch(many, 4, threads=threads) == alone
        assert tagger.batch(many, threads=threads) == tagged
    assert perturber.batch(iter(many[::-1]), 4, range(len(many) - 1, -1, -1)) == alone[::-1]
    assert perturber.batch([], 0) == [] and tagger.batch([]) == [] and perturber.batch((), 0, []) == []
    for bad in (-1, 1025, 2**70):
        with pytest.raises(ValueError, match="threads must be from 0"):
            perturber.batch(many, 0, threads=bad)
    with pytest.raises(ValueError, match="2 indices for 1 reports"):
        perturber.batch(["a"], 0, [1, 2])


def test_tagger():
    out = text.Tagger()("The left lung is clear.")
    assert out == (["the", "left", "lung", "is", "clear"], ["other", "adjective", "noun", "verb", "adjective"])
    assert text.Tagger()("") == ([], [])
    assert len(text.Tagger(None)("a " * 99).words) == 99 and text.Tagger(0)("a b") == ([], [])
    assert text.Tagger().batch(["", "Stable."])[1].words == ["stable"]


def test_hostile_texts():
    perturber, tagger, tokeniser = text.Perturber(max_words=None), text.Tagger(None), text.WordPiece(HARD_PIECES)
    for report in HOSTILE:
        out = perturber.all(report, 0, 0)
        assert len(out.texts) == 9 and all(len(one.split(" ")) == len(out.original.split(" ")) for one in out.texts)
        assert tagger(report).words == (out.original.split(" ") if out.original else [])
        assert len(tagger(report).classes) == len(tagger(report).words)
        assert text.normalise(report, None) == out.original
        text.sections(report), text.section(report, "findings"), text.sentences(report)
        encoding = tokeniser.encode(report, report, max_pieces=64)
        assert len(encoding.ids) == len(encoding.words) == len(encoding.type_ids) <= 64
    for bad in NOT_TEXT:
        for call in (lambda: perturber.all(bad, 0, 0), lambda: perturber.one(bad, 1, 0, 0), lambda: tagger(bad),
                     lambda: perturber.batch([bad], 0), lambda: tagger.batch(["a", bad]), lambda: text.normalise(bad),
                     lambda: text.sections(bad), lambda: text.sentences(bad), lambda: text.section(bad, "findings"),
                     lambda: text.section("a", bad), lambda: tokeniser.encode(bad), lambda: tokeniser.batch([bad]),
                     lambda: text.build_vocabulary([bad])):
            with pytest.raises(TypeError, match="must be a str, but is of type"):
                call()
    for bad in ("one text", b"bytes", None, 5):
        for call in (lambda: perturber.batch(bad, 0), lambda: tagger.batch(bad), lambda: tokeniser.batch(bad),
                     lambda: text.build_vocabulary(bad)):
            with pytest.raises(TypeError, match="must be several str"):
                call()


def test_lone_surrogates_are_refused_and_leave_nothing_behind():
    perturber, tokeniser = text.Perturber(), text.WordPiece(HARD_PIECES)
    for bad in ("\ud800", "lung \udcff clear", "\udfff" * 1000):
        for call in (lambda: perturber.all(bad, 0, 0), lambda: perturber.batch(["fine", bad, "fine"], 0),
                     lambda: perturber.one(bad, 1, 0, 0), lambda: text.Tagger()(bad), lambda: text.normalise(bad),
                     lambda: text.sections(bad), lambda: tokeniser.encode("a", bad), lambda: tokeniser.batch([bad]),
                     lambda: text.build_vocabulary([bad]), lambda: text.Perturber(scope=bad),
                     lambda: text.Perturber(antonyms={bad: "a"}), lambda: text.WordPiece([bad])):
            with pytest.raises(ValueError):
                call()
        assert perturber.all("fine", 0, 0).original == "fine"


def test_sections_and_sentences():
    report = "WET READ\nFindings: Old.\nFINAL REPORT\nFINDINGS: Clear lungs. No effusion.\nIMPRESSIONS: Normal."
    assert ("findings", "Clear lungs. No effusion.") in text.sections(report)
    assert text.section(report, "findings") == "Clear lungs. No effusion."
    assert text.section(report, "impression") == ""
    assert text.section(report, "impression", "canonical") == "Normal."
    assert text.sentences("One. Two is 2.5 cm.\n\nThree") == ["One.", "Two is 2.5 cm.", "Three"]
    assert text.sections("") == [] and text.sentences("") == []
    assert all(type(part) is str for one in text.sections(report) for part in one)
    with pytest.raises(ValueError, match="names must be one of as_written, canonical, but is 'x'"):
        text.sections(report, "x")
    with pytest.raises(ValueError, match="scope must be one of report, sentence, but is 'word'"):
        text.Perturber(scope="word")


def test_word_pieces():
    tokeniser = text.WordPiece(HARD_PIECES)
    assert tokeniser.encode("The lungs are clear.") == (
        [2, 5, 6, 7, 8, 9, 11, 3], [1] * 8, [0] * 8, [-1, 0, 1, 1, 2, 3, 3, -1])
    assert tokeniser.encode("don't").ids == [2, 16, 13, 14, 3]
    assert tokeniser.encode("the", "lungs", 5) == ([2, 5, 3, 6, 3], [1] * 5, [0, 0, 0, 1, 1], [-1, 0, -1, 0, -1])
    assert tokeniser.encode("The lungs are clear.", max_pieces=4).ids == [2, 5, 6, 3]
    assert (tokeniser.pad, tokeniser.unknown, tokeniser.begin_of_text, tokeniser.end_of_text) == (0, 1, 2, 3)
    assert len(tokeniser) == len(HARD_PIECES) and tokeniser.pieces[6] == "lung"
    for text_, pair, most in (("a", None, 1), ("a", "b", 2), ("a", None, 0)):
        with pytest.raises(ValueError, match="max_pieces is"):
            tokeniser.encode(text_, pair, most)
    with pytest.raises(ValueError, match="max_pieces must be from 0"):
        tokeniser.encode("a", max_pieces=-1)


def test_word_pieces_as_arrays():
    numpy = pytest.importorskip("numpy", reason="arrays of word pieces")
    tokeniser = text.WordPiece(HARD_PIECES)
    texts, pairs = ["The lungs are clear.", "", "don't", "lung " * 50], ["a", "b c", "", "pleural"]
    for second in (None, pairs):
        for to_longest in (False, True):
            for threads in (1, 2):
                out = tokeniser.batch(texts, second, max_pieces=20, to_longest=to_longest, threads=threads)
                for plane in out:
                    assert plane.dtype == numpy.int64 and plane.flags.c_contiguous and plane.flags.writeable
                    assert plane.shape == (4, 20)
                for i, one in enumerate(texts):
                    alone = tokeniser.encode(one, second and second[i], 20)
                    rest = 20 - len(alone.ids)
                    assert [list(plane[i]) for plane in out] == [
                        alone.ids + [0] * rest, alone.mask + [0] * rest, alone.type_ids + [0] * rest,
                        alone.words + [-1] * rest]
    assert tokeniser.batch(["the", "the lungs"]).ids.shape == (2, 5)
    assert tokeniser.batch([], max_pieces=7, to_longest=False).ids.shape == (0, 7)
    assert tokeniser.batch([]).ids.shape == (0, 0)
    with pytest.raises(ValueError, match="1 texts, but 2 second ones"):
        tokeniser.batch(["a"], ["b", "c"])
    with pytest.raises(ValueError, match="no memory|extents"):
        tokeniser.batch(["a", "b"], max_pieces=2**62, to_longest=False)
    out = tokeniser.batch(["the lungs"] * 3)
    kept = out.ids[1:].copy()
    view = out.ids[1:]
    del out, tokeniser
    gc.collect()
    assert (view == kept).all()  # the array's memory outlives everything else


def test_vocabulary_files(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(HARD_PIECES) + "\n", encoding="utf-8")
    of_file, of_list = text.WordPiece(str(path)), text.WordPiece(HARD_PIECES)
    assert of_file.pieces == of_list.pieces == tuple(HARD_PIECES)
    assert of_file == text.WordPiece(path) and hash(of_file) == hash(text.WordPiece(path)) and of_file.notes == ()
    kept = pickle.dumps(of_file)
    path.unlink()
    assert pickle.loads(kept).encode("The lungs").ids == of_list.encode("The lungs").ids
    with pytest.raises(FileNotFoundError):
        text.WordPiece(path)
    with pytest.raises(OSError):
        text.WordPiece(tmp_path)
    path.write_bytes("[PAD]\n[UNK]\n[CLS]\n[SEP]\n\nlung\nlung\n".encode())
    assert len(text.WordPiece(path).notes) == 2 and text.WordPiece(path).encode("lung").ids == [2, 6, 3]
    for content in (b"", b"lung\n", "[PAD]\n".encode("utf-16"), b"[PAD]\n\xff\n", b"[PAD]\0\n"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="vocab.txt"):
            text.WordPiece(path)
    for pieces in ([], ["lung"], HARD_PIECES + ["lung"], HARD_PIECES + [""], HARD_PIECES + ["a\nb"]):
        with pytest.raises(ValueError, match="vocabulary"):
            text.WordPiece(pieces)
    with pytest.raises(TypeError):
        text.WordPiece(5)


def test_build_vocabulary():
    pieces = text.build_vocabulary(reports(50), size=120)
    assert tuple(pieces[:5]) == text._facts()["special_pieces"] and len(pieces) <= 120 and "lung" in pieces
    assert pieces == text.build_vocabulary(reversed(reports(50)), 120) and all(type(one) is str for one in pieces)
    tokeniser = text.WordPiece(pieces)
    assert tokeniser.unknown not in tokeniser.encode(" ".join(reports(50))).ids
    assert len(text.build_vocabulary(reports(50), min_count=10**9)) < len(text.build_vocabulary(reports(50)))
    with pytest.raises(ValueError, match="size is 6"):
        text.build_vocabulary(reports(50), size=6)
    assert len(text.build_vocabulary([])) == 5


def perturb(perturber):
    return perturber.all(REPORT, 3, 7).texts


def test_pickled_copied_hashed_and_compared():
    sentences = text.Perturber(seed=2**64 - 1, scope="sentence", antonyms={"a": "b"})
    for one, other in ((text.Perturber(seed=2024), sentences), (text.Tagger(), text.Tagger(None)),
                       (text.WordPiece(HARD_PIECES), text.WordPiece(HARD_PIECES[:7]))):
        for kept in (one, other):
            for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
                again = pickle.loads(pickle.dumps(kept, protocol))
                assert again == kept and hash(again) == hash(kept) and repr(again) == repr(kept)
            assert copy.deepcopy(kept) is kept and copy.copy(kept) is kept
        assert one != other and one != 5 and len({one, other, pickle.loads(pickle.dumps(one))}) == 2
    assert perturb(pickle.loads(pickle.dumps(text.Perturber(seed=2024)))) == DRAWS


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers(method):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system has no {method}")
    perturber = text.Perturber(seed=2024)
    assert len(perturber.batch(reports(40), 0, threads=2)) == 40  # the parent has run threads
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.map_async(perturb, [perturber] * 4).get(timeout=60) == [DRAWS] * 4


def batch_in_child(perturber):
    return perturber.batch(reports(40), 0, threads=2)


def test_forked_workers_have_threads_of_their_own():
    if "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip("this system has no fork")
    perturber = text.Perturber(seed=1)
    alone = batch_in_child(perturber)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map_async(batch_in_child, [perturber] * 2).get(timeout=60) == [alone] * 2


def test_threads_share_objects():
    perturber, tokeniser = text.Perturber(seed=3), text.WordPiece(HARD_PIECES)
    many = reports(60)

    def work(k):
        return ([perturber.all(report, k % 2, i) for i, report in enumerate(many)],
                perturber.batch(many, k % 2, threads=1 + k % 2), [tokeniser.encode(report) for report in many])

    alone = [work(0), work(1)]
    with ThreadPoolExecutor(4) as pool:
        for k, out in enumerate(pool.map(work, range(8))):
            assert out == alone[k % 2]


def test_other_threads_run_meanwhile():
    """While one thread is inside a long call, another counts on."""
    perturber, long = text.Perturber(max_words=None), ["small left lung " * 20_000] * 4
    with counting() as counted:
        before = counted[0]
        perturber._all(long, 0, (0, 1, 2, 3), 1)
        during = counted[0] - before
    assert during >= 3


def test_memory_is_given_back():
    """Ten thousand calls keep the process as large as it was, errors among them."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        pytest.skip("this system has no /proc")
    page = os.sysconf("SC_PAGESIZE")
    tokeniser, many = text.WordPiece(HARD_PIECES), reports(9)

    def calls(count):
        for i in range(count):
            perturber = text.Perturber(seed=i % 3)
            perturber.all(REPORT, 0, i)
            perturber.one(REPORT, 8, 0, i)
            if i % 10 == 0:
                perturber.batch(many, i, threads=2), tokeniser.batch(many), text.Tagger()(REPORT)
                pickle.loads(pickle.dumps(tokeniser)), text.sections(REPORT)
                for bad in ("\ud800", 5):
                    with pytest.raises((ValueError, TypeError)):
                        perturber.batch(["a", bad], 0)
                with pytest.raises(ValueError):
                    text.Perturber(scope="x")

    def resident():
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        return int(statm.read_text().split()[1]) * page

    calls(500)
    before = resident()
    calls(10_000)
    assert resident() - before < 2 << 20


def test_the_program_prints_the_same(tmp_path):
    program = os.environ.get("VLP_PERTURB_PROGRAM") or shutil.which("perturb", path=ROOT / "build/cpu/examples")
    if program is None:
        pytest.skip("the program perturb is not built (VLP_PERTURB_PROGRAM names it)")
    many = [report.replace("\n", " ") for report in reports(120) if report]
    (tmp_path / "reports.txt").write_text("".join(report + "\n" for report in many))
    for arguments, options in (([], {}), (["--scope", "sentence", "--seed", str(2**64 - 1)],
                                          {"scope": "sentence", "seed": 2**64 - 1}),
                               (["--max-words", "9"], {"max_words": 9})):
        printed = subprocess.run([program, str(tmp_path / "reports.txt"), "--epoch", "6", *arguments],
                                 capture_output=True, text=True, check=True, timeout=60).stdout
        ours = [f"{i + 1}\t{name}\t{int(changed)}\t{one}\n"
                for i, out in enumerate(text.Perturber(**options).batch(many, 6))
                for name, one, changed in zip(text.perturbations(), out.texts, out.changed)]
        assert "".join(ours) == printed


def test_the_example():
    pytest.importorskip("torch", reason="examples/python/perturb_dataset.py loads data with PyTorch")
    out = subprocess.run([sys.executable, str(ROOT / "examples/python/perturb_dataset.py")], capture_output=True,
                         text=True, timeout=120)
    assert out.returncode == 0, out.stderr
    assert out.stdout.count("epoch 0: the left lung is clear no pleural effusion\n") == 1
    assert "  reverse_sentence: effusion pleural no clear is lung left the\n" in out.stdout


def test_the_example_without_pytorch(tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError('hidden by the test')\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    out = subprocess.run([sys.executable, str(ROOT / "examples/python/perturb_dataset.py")], capture_output=True,
                         text=True, env=environment, timeout=60)
    assert out.returncode == 1 and out.stderr == (
        "perturb_dataset: PyTorch is not installed, which this example loads data with\n")
