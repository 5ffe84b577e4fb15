// vlp's text engine as functions of tvm-ffi: perturbations, word classes, word pieces, vocabularies and
// sections. include/vlp/text/ says what each computes; here arguments become its types and results become
// texts. Functions that take many texts return lines: no text of the engine holds a line feed.
#include "text_calls.hpp"

#include <tvm/ffi/container/array.h>
#include <tvm/ffi/container/map.h>
#include <tvm/ffi/container/shape.h>
#include <tvm/ffi/container/tensor.h>
#include <tvm/ffi/error.h>
#include <tvm/ffi/function.h>
#include <tvm/ffi/optional.h>
#include <tvm/ffi/string.h>

#include <vlp/core/detail/extents.hpp>
#include <vlp/core/enum_names.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/text/antonyms.hpp>
#include <vlp/text/build_vocabulary.hpp>
#include <vlp/text/normalise.hpp>
#include <vlp/text/perturber.hpp>
#include <vlp/text/report.hpp>
#include <vlp/text/vocabulary.hpp>
#include <vlp/text/word_class.hpp>
#include <vlp/text/word_piece.hpp>
#include <vlp/text/wordnet.hpp>
#include <vlp/text/words.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace vlp::bindings {
namespace {

using Functions = ffi::Map<ffi::String, ffi::Any>;
using OptionalNumber = ffi::Optional<std::int64_t>;

/// The most words of a report; without a number, all.
std::size_t word_limit(const OptionalNumber& max_words) {
  return max_words.has_value() ? count_of("max_words", *max_words) : text::all_words;
}

/// The lists of names, and the defaults, that Python shows.
Functions text_facts() {
  Texts perturbations, classes;
  for (const text::Perturbation one : text::all_perturbations) perturbations.push_back(text_of(name(one)));
  for (const text::WordClass one :
       {text::WordClass::noun, text::WordClass::adjective, text::WordClass::verb, text::WordClass::other})
    classes.push_back(text_of(name(one)));
  const text::VocabularyOptions vocabulary;
  return {{"perturbations", perturbations},
          {"word_classes", classes},
          {"scopes", names_of(enum_names<text::PerturbationScope>)},
          {"section_names", names_of(enum_names<text::SectionNames>)},
          {"special_pieces", names_of(text::special_pieces)},
          {"max_words", static_cast<std::int64_t>(text::default_max_words)},
          {"vocabulary_size", static_cast<std::int64_t>(vocabulary.size)},
          {"min_count", vocabulary.min_count}};
}

ffi::String normalise(const ffi::String& report, const OptionalNumber& max_words) {
  return as_python([&] { return ffi::String(text::normalise(view(report), word_limit(max_words))); });
}

/// Names and bodies in turn.
Texts sections(const ffi::String& report, const ffi::String& names) {
  return as_python([&] {
    Texts out;
    for (const text::Section& one :
         text::sections(view(report), choice<text::SectionNames>("names", names))) {
      out.push_back(text_of(one.name));
      out.push_back(text_of(one.body));
    }
    return out;
  });
}

ffi::String section(const ffi::String& report, const ffi::String& section_name, const ffi::String& names) {
  return as_python([&] {
    return text_of(
        text::section(view(report), view(section_name), choice<text::SectionNames>("names", names)));
  });
}

Texts sentences(const ffi::String& report) {
  return as_python([&] {
    Texts out;
    for (const text::Span sentence : text::sentences(view(report)))
      out.push_back(text_of(text::slice(view(report), sentence)));
    return out;
  });
}

/// The pieces of a vocabulary of these texts, each with a line feed.
ffi::String build_vocabulary(const Texts& texts, std::int64_t size, std::int64_t min_count) {
  return as_python([&] {
    const std::vector<std::string> reports = strings_of(texts);
    const text::VocabularyOptions options{count_of("size", size), min_count};
    return ffi::String(text::build_vocabulary(reports, options).text());
  });
}

/// For each report two lines: its words, and the number of each word's class as a digit.
ffi::Function make_tagger(const OptionalNumber& max_words) {
  return as_python([&] {
    const std::size_t limit = word_limit(max_words);
    return ffi::Function::FromTyped([limit](const Texts& reports, std::int64_t threads) {
      struct Worker {
        text::WordReader<> reader;
        text::Words words;
      };
      return as_python([&] {
        return lines_of(
            reports, threads,
            [&] {
              return Worker{text::WordReader<>(limit), {}};
            },
            [](std::string_view report, std::size_t, Worker& worker, std::string& out) {
              worker.reader.read(report, worker.words);
              out.append(worker.words.text).push_back('\n');
              for (const text::WordClass one : worker.words.classes)
                out.push_back(static_cast<char>('0' + static_cast<int>(one)));
            });
      });
    });
  });
}

/// WordNet where one is given, and no opposites otherwise.
struct MaybeWordNet {
  std::optional<text::WordNet> wordnet;
  [[nodiscard]] std::span<const std::string_view> antonyms(std::string_view word) const {
    return wordnet ? wordnet->antonyms(word) : std::span<const std::string_view>();
  }
};

/// Parts that a perturber of Python's is made of.
struct PerturberParts {
  using Antonyms = text::FallbackAntonyms<text::AntonymTable, MaybeWordNet>;

  text::PerturberOptions options;
  std::size_t max_words;
  Antonyms antonyms;
  std::vector<text::Perturbation> perturbations;

  [[nodiscard]] bool needs_classes() const {
    return std::any_of(perturbations.begin(), perturbations.end(), text::needs_word_classes);
  }
};

/// Reads reports, with classes if the tagger gives any, and perturbs them. One per thread.
template <class Tagger>
struct ReportPerturber {
  explicit ReportPerturber(const PerturberParts& parts)
      : reader(parts.max_words), perturb(parts.options, parts.antonyms) {}

  text::WordReader<Tagger> reader;
  text::Perturber<PerturberParts::Antonyms> perturb;
  text::Words words;
  text::PerturbedReport out;
};

/// For each report a line of 0 and 1, which says what has changed, its words, and its perturbations.
template <class Tagger>
ffi::String perturb_all(const PerturberParts& parts, const Texts& reports, std::int64_t epoch,
                        const ffi::Array<std::int64_t>& indices, std::int64_t threads) {
  require(indices.size() == reports.size(), "perturber: ", indices.size(), " indices for ", reports.size(),
          " reports");
  std::vector<std::uint32_t> places;
  for (const std::int64_t index : indices) places.push_back(address("index", index));
  const std::uint32_t in_epoch = address("epoch", epoch);
  return lines_of(
      reports, threads, [&] { return ReportPerturber<Tagger>(parts); },
      [&](std::string_view report, std::size_t i, ReportPerturber<Tagger>& worker, std::string& out) {
        worker.reader.read(report, worker.words);
        out.assign(parts.perturbations.size(), '0').append("\n").append(worker.words.text);
        for (std::size_t p = 0; p < parts.perturbations.size(); ++p) {
          worker.perturb(worker.words, parts.perturbations[p], in_epoch, places[i], worker.out);
          if (worker.out.changed) out[p] = '1';
          out.append("\n").append(worker.out.text);
        }
      });
}

/// One perturbation as bytes: the number of its words, its order, and its text after a 0 or 1, which says
/// whether it changed.
template <class Tagger>
ffi::Bytes perturb_one(const PerturberParts& parts, const ffi::String& report,
                       text::Perturbation perturbation, std::int64_t epoch, std::int64_t index) {
  ReportPerturber<Tagger> worker(parts);
  worker.reader.read(view(report), worker.words);
  worker.perturb(worker.words, perturbation, address("epoch", epoch), address("index", index), worker.out);
  std::string out = numbers_of(worker.out.order);
  out.append(worker.out.changed ? "1" : "0").append(worker.out.text);
  return ffi::Bytes(std::move(out));
}

/// Functions "all" and "one". `seed` holds the bits of an unsigned number; `antonyms` are pairs, word and
/// opposite in turn, instead of radiology's; `wordnet` is a folder's path.
Functions make_perturber(std::int64_t seed, const ffi::String& scope, const OptionalNumber& max_words,
                         const Texts& perturbations, const ffi::Optional<Texts>& antonyms,
                         const ffi::Optional<ffi::Bytes>& wordnet) {
  return as_python([&]() -> Functions {
    const auto table = [&] {
      if (!antonyms.has_value()) return text::radiology_antonyms();
      const std::vector<std::string> words = strings_of(*antonyms);
      require(words.size() % 2 == 0, "antonyms: ", words.size(), " words are no pairs");
      std::vector<text::AntonymPair> pairs;
      for (std::size_t i = 0; i < words.size(); i += 2) pairs.emplace_back(words[i], words[i + 1]);
      return text::AntonymTable(pairs);
    };
    MaybeWordNet second;
    if (wordnet.has_value()) second.wordnet = text::WordNet::load(std::string(view(*wordnet)));
    std::vector<text::Perturbation> chosen;
    for (const ffi::String& one : perturbations) chosen.push_back(text::parse_perturbation(view(one)));
    const auto parts = std::make_shared<const PerturberParts>(
        PerturberParts{{static_cast<std::uint64_t>(seed), choice<text::PerturbationScope>("scope", scope)},
                       word_limit(max_words),
                       {table(), std::move(second)},
                       std::move(chosen)});
    return {{"all",
             ffi::Function::FromTyped([parts](const Texts& reports, std::int64_t epoch,
                                              const ffi::Array<std::int64_t>& indices, std::int64_t threads) {
               return as_python([&] {
                 return parts->needs_classes()
                            ? perturb_all<text::PerceptronTagger>(*parts, reports, epoch, indices, threads)
                            : perturb_all<text::NoTagger>(*parts, reports, epoch, indices, threads);
               });
             })},
            {"one", ffi::Function::FromTyped([parts](const ffi::String& report, const ffi::String& name,
                                                     std::int64_t epoch, std::int64_t index) {
               return as_python([&] {
                 const text::Perturbation perturbation = text::parse_perturbation(view(name));
                 return text::needs_word_classes(perturbation)
                            ? perturb_one<text::PerceptronTagger>(*parts, report, perturbation, epoch, index)
                            : perturb_one<text::NoTagger>(*parts, report, perturbation, epoch, index);
               });
             })}};
  });
}

/// The pieces of one text, or of a pair.
struct Encoding {
  std::vector<text::PieceId> ids;
  std::vector<std::int32_t> words, type_ids;

  void encode(const text::WordPiece& tokeniser, const ffi::String& text,
              const std::optional<ffi::String>& second, std::size_t max_pieces) {
    ids.clear();
    words.clear();
    type_ids.clear();
    if (second)
      tokeniser.encode_pair(view(text), view(*second), max_pieces, ids, words, type_ids);
    else
      type_ids.resize(tokeniser.encode(view(text), max_pieces, ids, words), 0);
  }
};

/// Memory of a result on the CPU.
struct ResultMemory {
  void AllocData(DLTensor* tensor) {
    tensor->data = new std::int64_t[ffi::GetDataSize(*tensor) / sizeof(std::int64_t)];
  }
  void FreeData(DLTensor* tensor) { delete[] static_cast<std::int64_t*>(tensor->data); }
};

/// Ids, mask, type ids and words: int64 [4, texts, length]. Texts are padded to max_pieces or, if
/// `to_longest`, to the longest of them.
ffi::Tensor encode_all(const text::WordPiece& tokeniser, const Texts& texts,
                       const ffi::Optional<Texts>& seconds, std::int64_t max_pieces, bool to_longest,
                       std::int64_t threads) {
  require(!seconds.has_value() || (*seconds).size() == texts.size(), "encode: ", texts.size(), " texts, but ",
          seconds.has_value() ? (*seconds).size() : 0, " second ones");
  const std::size_t most = count_of("max_pieces", max_pieces);
  std::vector<Encoding> encodings(texts.size());
  for_each_index(
      texts.size(), threads, [] { return std::monostate{}; },
      [&](std::size_t i, std::monostate) {
        const auto at = static_cast<std::int64_t>(i);
        encodings[i].encode(tokeniser, texts[at],
                            seconds.has_value() ? std::optional<ffi::String>((*seconds)[at]) : std::nullopt,
                            most);
      });
  std::int64_t length = to_longest ? 0 : max_pieces;
  for (const Encoding& one : encodings) length = std::max(length, static_cast<std::int64_t>(one.ids.size()));
  const std::array<Index, 3> extents{4, static_cast<Index>(texts.size()), length};
  (void)vlp::detail::checked_bytes<std::int64_t>("encode", vlp::detail::checked_size("encode", extents));
  auto out = ffi::Tensor::FromNDAlloc(ResultMemory(), ffi::Shape(extents.begin(), extents.end()),
                                      DLDataType{kDLInt, 64, 1}, DLDevice{kDLCPU, 0});
  auto* row = static_cast<std::int64_t*>(out.data_ptr());
  const auto write = [&](const auto& list, std::int64_t padding) {
    std::fill(std::copy(list.begin(), list.end(), row), row + length, padding);
    row += length;
  };
  for (const Encoding& one : encodings) write(one.ids, tokeniser.vocabulary().pad());
  for (const Encoding& one : encodings) write(std::vector<std::int64_t>(one.ids.size(), 1), 0);
  for (const Encoding& one : encodings) write(one.type_ids, 0);
  for (const Encoding& one : encodings) write(one.words, -1);
  return out;
}

/// A tokeniser: "one" and "all" are functions; "pieces" are lines, each with a line feed; "notes" are
/// sentences.
Functions functions_of(text::Vocabulary vocabulary) {
  const auto tokeniser = std::make_shared<const text::WordPiece>(std::move(vocabulary));
  const text::Vocabulary& known = tokeniser->vocabulary();
  return {
      {"one",
       ffi::Function::FromTyped([tokeniser](const ffi::String& text, const ffi::Optional<ffi::String>& second,
                                            std::int64_t max_pieces) {
         return as_python([&] {
           Encoding encoding;
           encoding.encode(*tokeniser, text,
                           second.has_value() ? std::optional<ffi::String>(*second) : std::nullopt,
                           count_of("max_pieces", max_pieces));
           return ffi::Bytes(numbers_of(encoding.ids) + numbers_of(encoding.type_ids) +
                             numbers_of(encoding.words));
         });
       })},
      {"all",
       ffi::Function::FromTyped([tokeniser](const Texts& texts, const ffi::Optional<Texts>& seconds,
                                            std::int64_t max_pieces, bool to_longest, std::int64_t threads) {
         return as_python(
             [&] { return encode_all(*tokeniser, texts, seconds, max_pieces, to_longest, threads); });
       })},
      {"pieces", ffi::String(known.text())},
      {"notes", names_of(known.notes())},
      {"special", ffi::Shape({known.pad(), known.unknown(), known.begin_of_text(), known.end_of_text()})}};
}

/// A tokeniser of a vocabulary file's bytes, which `source` names.
Functions make_word_piece(const ffi::Bytes& bytes, const ffi::String& source) {
  return as_python([&] { return functions_of(text::Vocabulary::parse(view(bytes), view(source))); });
}

/// A tokeniser of a list of pieces.
Functions make_word_piece_of_list(const Texts& pieces) {
  return as_python([&] { return functions_of(text::Vocabulary(strings_of(pieces))); });
}

}  // namespace
}  // namespace vlp::bindings

TVM_FFI_DLL_EXPORT_TYPED_FUNC(text_facts, vlp::bindings::text_facts);
TVM_FFI_DLL_EXPORT_TYPED_FUNC(normalise, vlp::bindings::normalise);
TVM_FFI_DLL_EXPORT_TYPED_FUNC(sections, vlp::bindings::sections);
TVM_FFI_DLL_EXPORT_TYPED_FUNC(section, vlp::bindings::section);
TVM_FFI_DLL_EXPORT_TYPED_FUNC(sentences, vlp::bindings::sentences);
TVM_FFI_DLL_EXPORT_TYPED_FUNC(build_vocabulary, vlp::bindings::build_vocabulary);
TVM_FFI_DLL_EXPORT_TYPED_FUNC(make_tagger, vlp::bindings::make_tagger);
TVM_FFI_DLL_EXPORT_TYPED_FUNC(make_perturber, vlp::bindings::make_perturber);
TVM_FFI_DLL_EXPORT_TYPED_FUNC(make_word_piece, vlp::bindings::make_word_piece);
TVM_FFI_DLL_EXPORT_TYPED_FUNC(make_word_piece_of_list, vlp::bindings::make_word_piece_of_list);
