#!/usr/bin/env python3
"""Times the usual Python routes beside vlp's text engine, each on one core, on the Open-I reports.

  compare_python_text.py --benchmark build/cpu/benchmarks/benchmark_text --output benchmarks/results/text

Word pieces: Hugging Face tokenizers. Perturbing: plain Python lists, tagged by NLTK or spaCy. What is not installed is
named and left out; nothing is downloaded or installed. NLTK without its trained weights is trained for one pass on a
tagged corpus (--tagged), which changes what it answers but hardly how fast. Without NLTK's WordNet the eighth
perturbation leaves adjectives alone, which is faster than it would be. Writes OUTPUT.json and OUTPUT.md, or prints.
"""
import argparse
import csv
import json
import os
import pathlib
import platform
import random
import re
import subprocess
import sys
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.setdefault("RAYON_NUM_THREADS", "1")
DATA = pathlib.Path(os.environ.get("VLP_DATA_DIR", pathlib.Path(__file__).resolve().parents[2] / "shared" / "data"))
SEPARATORS = re.compile(r'[.!"()*#:;~]')


def best_time(run, repeats):
    times = []
    for _ in range(repeats):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return min(times)


def words_of(report):
    return SEPARATORS.sub(" ", report).lower().split()[:50]


def permute(words, positions):
    drawn = positions[:]
    random.shuffle(drawn)
    out = words[:]
    for to, origin in zip(positions, drawn):
        out[to] = words[origin]
    return out


def five_without_tags(words):
    """Perturbations 3, 4, 5, 6 and 9, as text."""
    trigrams = [words[i:i + 3] for i in range(0, len(words), 3)]
    within = [word for run in trigrams for word in random.sample(run, len(run))]
    random.shuffle(trigrams)
    swapped = words[:]
    swapped[0:len(words) // 2 * 2:2], swapped[1::2] = words[1::2], words[0:len(words) // 2 * 2:2]
    return [" ".join(order) for order in (within, [word for run in trigrams for word in run],
                                          random.sample(words, len(words)), words[::-1], swapped)]


def four_with_tags(words, tags, antonyms):
    """Perturbations 1, 2, 7 and 8, as text; `tags` has a Penn tag for each word."""
    nouns = [i for i, tag in enumerate(tags) if tag.startswith("NN")]
    adjectives = [i for i, tag in enumerate(tags) if tag.startswith("JJ")]
    verbs = [i for i, tag in enumerate(tags) if tag.startswith("VB")]
    content = set(nouns) | set(adjectives)
    replaced = words[:]
    for i in adjectives:
        choices = antonyms(words[i])
        if choices:
            replaced[i] = random.choice(choices)
    return [" ".join(order) for order in (permute(permute(words, nouns), adjectives),
                                          permute(words, [i for i in range(len(words)) if i not in content]),
                                          permute(words, nouns + adjectives + verbs), replaced)]


def nltk_antonyms(notes):
    try:
        from nltk.corpus import wordnet
        wordnet.ensure_loaded()
    except Exception:
        notes.append("NLTK's WordNet data is not installed: adjectives are left alone")
        return lambda word: []
    return lambda word: [antonym.name() for synset in wordnet.synsets(word, pos="a") for lemma in synset.lemmas()
                         for antonym in lemma.antonyms()]


def nltk_tagger(tagged, notes):
    """A function from words to Penn tags, or None."""
    try:
        import nltk
        from nltk.tag.perceptron import PerceptronTagger
    except ImportError:
        notes.append("NLTK is not installed")
        return None
    try:
        tagger = PerceptronTagger()
    except LookupError:
        if not tagged.is_file():
            notes.append("NLTK's tagger weights are not installed and there is no tagged corpus at hand")
            return None
        sentences = []
        for block in tagged.read_text(encoding="utf-8").split("\n\n")[:3000]:
            sentence = [tuple(line.split("\t")[:2]) for line in block.split("\n") if "\t" in line]
            if sentence:
                sentences.append(sentence)
        tagger = PerceptronTagger(load=False)
        tagger.train(sentences, nr_iter=1)
        notes.append(f"NLTK's tagger weights are not installed: trained for one pass on {len(sentences)} sentences")
    notes.append(f"NLTK {nltk.__version__}")
    return lambda words: [tag for _, tag in tagger.tag(words)]


def spacy_tagger(notes):
    try:
        import spacy
        model = spacy.load("en_core_web_sm", disable=["parser", "ner", "lemmatizer"])
    except (ImportError, OSError):
        notes.append("spaCy with en_core_web_sm is not installed")
        return None
    notes.append(f"spaCy {spacy.__version__}")
    return lambda words: [token.tag_ for token in model(spacy.tokens.Doc(model.vocab, words=words))]


def word_pieces(reports, vocabulary, repeats, notes):
    try:
        import tokenizers
    except ImportError:
        notes.append("Hugging Face tokenizers is not installed")
        return {}
    if not vocabulary.is_file():
        notes.append(f"there is no vocabulary at {vocabulary}")
        return {}
    cut = tokenizers.BertWordPieceTokenizer(str(vocabulary), lowercase=True)
    notes.append(f"Hugging Face tokenizers {tokenizers.__version__}")
    pieces = sum(len(cut.encode(report).ids) for report in reports)
    one_by_one = best_time(lambda: [cut.encode(report).ids for report in reports], repeats)
    batch = best_time(lambda: [encoding.ids for encoding in cut.encode_batch(reports)], repeats)
    return {"word pieces: Hugging Face tokenizers, encode": pieces / one_by_one,
            "word pieces: Hugging Face tokenizers, encode_batch": pieces / batch}


def vlp_rates(program, repeats):
    """Items a second of the benchmarks on one thread: the best of `repeats` runs."""
    output = subprocess.run([program, f"--benchmark_repetitions={repeats}", "--benchmark_format=json"], check=True,
                            capture_output=True, text=True).stdout
    rates, allocations = {}, {}
    for run in json.loads(output)["benchmarks"]:
        if run["run_type"] == "iteration":
            rates[run["run_name"]] = max(rates.get(run["run_name"], 0), run["items_per_second"])
            if "allocations" in run:
                allocations[run["run_name"]] = run["allocations"]
    return rates, allocations


def measure(options):
    with open(options.reports, encoding="utf-8", newline="") as file:
        reports = [row["findings"] + " " + row["impression"] for row in csv.DictReader(file)]
    notes, rates = [], {}
    seconds = best_time(lambda: [five_without_tags(words_of(report)) for report in reports], options.repeats)
    rates["five without tags: plain Python"] = len(reports) / seconds
    antonyms = None
    for name, tagger in (("NLTK", nltk_tagger(options.tagged, notes)), ("spaCy", spacy_tagger(notes))):
        if tagger is None:
            continue
        antonyms = antonyms or nltk_antonyms(notes)
        part = reports[:500]

        def all_nine(tagger=tagger):
            for report in part:
                words = words_of(report)
                five_without_tags(words)
                four_with_tags(words, tagger(words), antonyms)

        rates[f"all nine: plain Python, tags of {name}"] = len(part) / best_time(all_nine, min(options.repeats, 3))
    rates.update(word_pieces(reports, options.vocabulary, options.repeats, notes))
    allocations = {}
    if options.benchmark:
        of_vlp, allocations = vlp_rates(options.benchmark, options.repeats)
        names = {"five_without_tags": "five without tags: vlp", "all_nine": "all nine: vlp", "word_piece": "word pieces: vlp"}
        rates.update({names.get(name, "vlp, " + name): rate for name, rate in of_vlp.items()})
    else:
        notes.append("vlp itself is not timed (--benchmark)")
    return {"reports": len(reports), "python": platform.python_version(), "rates": rates,
            "allocations_per_report": allocations, "notes": notes}


def markdown(result):
    lines = ["# Text engine beside the usual Python routes", "",
             f"{result['reports']} Open-I reports, Python {result['python']}, {result['machine']}. Reports (word pieces: pieces) a "
             "second on one core, by the processor's time, best of several; lines that say `threads:2` by the clock.", "",
             "| what | a second |", "|---|---:|"]
    lines += [f"| {name} | {rate:,.0f} |" for name, rate in sorted(result["rates"].items())]
    if result["allocations_per_report"]:
        lines += ["", "Allocations per report in steady state: " +
                  ", ".join(f"{name} {count:g}" for name, count in result["allocations_per_report"].items()) + "."]
    lines += ["", "Notes: " + "; ".join(result["notes"]) + "."]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reports", type=pathlib.Path, default=DATA / "open_i" / "indiana_reports.csv")
    parser.add_argument("--vocabulary", type=pathlib.Path, default=DATA / "bert_vocab" / "vocab.txt")
    parser.add_argument("--tagged", type=pathlib.Path, default=DATA / "tagged" / "craft.tsv",
                        help="tokens and Penn tags, for NLTK without weights")
    parser.add_argument("--benchmark", help="the program benchmark_text, timed beside")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--machine", default=f"{os.cpu_count()} cores", help="what to call this machine")
    parser.add_argument("--output", help="write OUTPUT.json and OUTPUT.md")
    options = parser.parse_args()
    if not options.reports.is_file():
        sys.exit(f"compare_python_text: there are no reports at {options.reports} (set VLP_DATA_DIR, or --reports)")
    result = measure(options)
    result["machine"] = options.machine
    if options.output:
        pathlib.Path(options.output + ".json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        pathlib.Path(options.output + ".md").write_text(markdown(result), encoding="utf-8")
    else:
        print(markdown(result), end="")


if __name__ == "__main__":
    main()
