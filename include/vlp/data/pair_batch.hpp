/// \file
/// Batches of pairs: images standardised, reports perturbed, cut into word pieces and packed.
#pragma once

#include <vlp/core/enum_names.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/random.hpp>
#include <vlp/core/scalar.hpp>
#include <vlp/data/detail/group_batch.hpp>
#include <vlp/data/example.hpp>
#include <vlp/data/images.hpp>
#include <vlp/io/image.hpp>
#include <vlp/io/resize.hpp>
#include <vlp/text/perturber.hpp>
#include <vlp/text/word_piece.hpp>
#include <vlp/text/words.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace vlp::data {

/// Which words of a report the local loss aligns with regions.
enum class LocalWords {
  nouns,  ///< the nouns, or all words where a report has no noun: a noun's feature holds what stands around
          ///< it, and words of one phrase do not compete for its region
  all     ///< every word, as published
};

/// How batches are made of examples.
struct PairBatchOptions {
  Index image_size = 64;  ///< pixels along an edge of the examples' images
  Index max_words = 50;   ///< words of a report that are kept
  text::PerturbationScope scope = text::PerturbationScope::report;  ///< what is perturbed as a whole
  LocalWords local_words = LocalWords::nouns;
  std::uint64_t seed = 1;      ///< of the perturbations
  bool with_findings = false;  ///< adds Example::findings as a text, whose words are the local ones then

  /// The longest text in word pieces, [CLS] and [SEP] included. Words of several pieces are provided for up
  /// to twice the words.
  [[nodiscard]] Index max_pieces() const { return 2 * max_words + 2; }
};

/// B pairs with N texts each: the report, its K perturbations and, PairBatchOptions::with_findings, its
/// findings. Text b N + k is perturbation k of report b, k = 0 the report itself. Texts are packed: all word
/// pieces in a row, [T], with the offset of each text.
struct PairBatch {
  Index pairs = 0;
  Index candidates_per_pair = 1;         ///< 1 + K: the report and its perturbations
  Index texts_per_pair = 1;              ///< N: 1 + K, and 1 with findings
  std::vector<Index> examples;           ///< [B] which examples, without those whose image cannot be read
  std::vector<float> images;             ///< [B, image_size, image_size, 1], each of mean 0 and deviation 1
  std::vector<std::int32_t> pieces;      ///< [T] ids
  std::vector<Index> offsets;            ///< [B N + 1]
  std::vector<std::int32_t> word_slot;   ///< [T] row of [B * max_words] for a piece of a local word, else -1
  Index max_words = 0;                   ///< W, of the report with most local words
  std::vector<std::int64_t> word_count;  ///< [B]
  std::vector<std::uint8_t> valid;       ///< [B, 1 + K] 0 for a perturbation that left the report as it was
  std::vector<std::int64_t> group;       ///< [B] equal where one pair's report is right for the other's image
};

/// Consecutive pairs of a PairBatch, as views onto its memory. Numbers count as in the whole batch: `offsets`
/// begins at offsets.front(), and words have rows from first_pair * max_words.
struct PairBatchPart {
  Index first_pair = 0;  ///< of the whole batch
  Index pairs = 0;       ///< b
  Index texts_per_pair = 1;
  Index max_words = 0;                      ///< of the whole batch
  std::span<const float> images;            ///< [b, image_size, image_size, 1]
  std::span<const std::int32_t> pieces;     ///< [t]
  std::span<const Index> offsets;           ///< [b N + 1]
  std::span<const std::int32_t> word_slot;  ///< [t]
};

/// The pairs `first` to `first + count` of a batch, which must outlive what is returned. Throws
/// std::invalid_argument unless the batch has them.
[[nodiscard]] inline PairBatchPart part_of(const PairBatch& batch, Index first, Index count) {
  require(first >= 0 && count >= 0 && first <= batch.pairs && count <= batch.pairs - first, "part_of: pairs ",
          first, " to ", first + count, " of a batch of ", batch.pairs);
  const auto range = []<class T>(const std::vector<T>& all, Index begin, Index size) {
    return std::span<const T>(all).subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(size));
  };
  const Index texts = batch.texts_per_pair,
              pixels = batch.pairs == 0 ? 0 : static_cast<Index>(batch.images.size()) / batch.pairs;
  const auto offsets = range(batch.offsets, first * texts, count * texts + 1);
  const Index piece = offsets.front(), pieces = offsets.back() - piece;
  return {.first_pair = first,
          .pairs = count,
          .texts_per_pair = texts,
          .max_words = batch.max_words,
          .images = range(batch.images, first * pixels, count * pixels),
          .pieces = range(batch.pieces, piece, pieces),
          .offsets = offsets,
          .word_slot = range(batch.word_slot, piece, pieces)};
}

/// An epoch number that no training epoch has: held-out reports are perturbed the same way every time.
inline constexpr std::uint32_t evaluation_epoch = 0xffffffffu;

/// Writes the number of each word among those that the local loss aligns to `slots`, -1 for the others.
inline void number_local_words(const text::Words& words, LocalWords local_words,
                               std::vector<std::int32_t>& slots) {
  const auto is_noun = [](text::WordClass word_class) { return word_class == text::WordClass::noun; };
  const bool nouns_only = local_words == LocalWords::nouns && std::ranges::any_of(words.classes, is_noun);
  slots.clear();
  std::int32_t count = 0;
  for (const text::WordClass word_class : words.classes)
    slots.push_back(nouns_only && !is_noun(word_class) ? -1 : count++);
}

/// Makes batches. Keeps scratch memory, so each thread needs one of its own.
class PairBatchMaker {
 public:
  /// Each report comes with `per_report` of the `perturbations`, drawn anew for each epoch, or with all of
  /// them in their order when it is 0. `perturbations` may be empty: then texts are the reports alone.
  /// `word_piece` must outlive this.
  PairBatchMaker(const PairBatchOptions& options, const text::WordPiece& word_piece,
                 std::vector<text::Perturbation> perturbations, Index per_report = 0)
      : options_(options),
        word_piece_(&word_piece),
        perturbations_(std::move(perturbations)),
        per_report_(per_report == 0 ? perturbations_.size()
                                    : std::min(static_cast<std::size_t>(per_report), perturbations_.size())),
        reader_(static_cast<std::size_t>(options.max_words)),
        perturber_({options.seed, options.scope}) {}

  /// The pairs `indices` of `examples`, whose images are in `images`, perturbed for `epoch`. Texts are made
  /// while the images are decoded. Pairs whose image cannot be read are left out, or end in an error; see
  /// Images::Request::wait. Throws std::invalid_argument for images of another size.
  PairBatch make(const Images& images, std::span<const Example> examples, std::span<const Index> indices,
                 std::uint32_t epoch) {
    require(images.image_size() == options_.image_size, "PairBatchMaker: images of ", images.image_size(),
            " x ", images.image_size(), " pixels for batches of ", options_.image_size, " x ",
            options_.image_size);
    std::vector<std::int64_t> ids;
    for (const Index index : indices) ids.push_back(examples[static_cast<std::size_t>(index)].image_id);
    Images::Request request = images.request(ids);
    PairBatch batch = make_texts(examples, indices, epoch);
    request.wait();
    std::vector<Index> present;
    for (std::size_t i = 0; i < ids.size(); ++i)
      if (!request.pixels(i).empty()) present.push_back(indices[i]);
    if (present.size() < ids.size()) batch = make_texts(examples, present, epoch);
    batch.images.reserve(present.size() *
                         static_cast<std::size_t>(options_.image_size * options_.image_size));
    for (std::size_t i = 0; i < ids.size(); ++i)
      if (!request.pixels(i).empty()) add_image(request.pixels(i), batch);
    return batch;
  }

  /// The same batch without its images, whether or not they can be read.
  PairBatch make_texts(std::span<const Example> examples, std::span<const Index> indices,
                       std::uint32_t epoch) {
    PairBatch batch;
    batch.pairs = static_cast<Index>(indices.size());
    batch.candidates_per_pair = 1 + static_cast<Index>(per_report_);
    batch.texts_per_pair = batch.candidates_per_pair + (options_.with_findings ? 1 : 0);
    batch.examples.assign(indices.begin(), indices.end());
    batch.offsets.push_back(0);
    for (const Index index : indices)
      add_texts(examples[static_cast<std::size_t>(index)], epoch, static_cast<std::uint32_t>(index), batch);
    batch.group = detail::group_batch(examples, indices);
    // Words were numbered within their report; now that the longest is known, each gets its row.
    for (Index pair = 0; pair < batch.pairs; ++pair) {
      const auto text = static_cast<std::size_t>(pair * batch.texts_per_pair +
                                                 (options_.with_findings ? batch.candidates_per_pair : 0));
      for (Index t = batch.offsets[text]; t < batch.offsets[text + 1]; ++t)
        if (auto& slot = batch.word_slot[static_cast<std::size_t>(t)]; slot >= 0)
          slot += static_cast<std::int32_t>(pair * batch.max_words);
    }
    return batch;
  }

 private:
  void add_image(std::span<const std::uint16_t> pixels, PairBatch& batch) {
    io::GrayImage image = detail::gray_image(pixels, options_.image_size);
    io::standardise(image);
    batch.images.insert(batch.images.end(), image.pixels.begin(), image.pixels.end());
  }

  void add_texts(const Example& example, std::uint32_t epoch, std::uint32_t index, PairBatch& batch) {
    reader_.read(example.report, words_);
    add_text(words_.text, batch);
    if (options_.with_findings)
      forget_words(batch);
    else
      take_local_words(batch);
    batch.valid.push_back(1);
    for (const text::Perturbation perturbation : draw_perturbations(epoch, index)) {
      perturber_(words_, perturbation, epoch, index, perturbed_);
      // One that changed nothing is no candidate; an empty text holds its place at no cost.
      add_text(perturbed_.changed ? perturbed_.text : std::string(), batch);
      forget_words(batch);
      batch.valid.push_back(perturbed_.changed ? 1 : 0);
    }
    if (!options_.with_findings) return;
    reader_.read(example.findings, words_);
    add_text(words_.text, batch);
    take_local_words(batch);
  }

  /// The slots of the batch's last text.
  static std::span<std::int32_t> last_slots(PairBatch& batch) {
    const auto first = static_cast<std::size_t>(batch.offsets[batch.offsets.size() - 2]);
    return std::span(batch.word_slot).subspan(first);
  }

  /// The last text has no local words.
  static void forget_words(PairBatch& batch) { std::ranges::fill(last_slots(batch), -1); }

  /// The last text, which is words_, has the local words of its pair.
  void take_local_words(PairBatch& batch) {
    number_local_words(words_, options_.local_words, slots_);
    // A report is cut at max_pieces(); what was cut off has no word feature.
    std::int32_t last = 0;
    for (std::int32_t& slot : last_slots(batch)) {
      if (slot >= 0) slot = slots_[static_cast<std::size_t>(slot)];
      last = std::max(last, slot);
    }
    // A report of characters that BERT drops has words but no pieces: one word, whose feature is zero.
    const std::int64_t count = last + 1;
    batch.word_count.push_back(count);
    batch.max_words = std::max<Index>(batch.max_words, count);
  }

  std::span<const text::Perturbation> draw_perturbations(std::uint32_t epoch, std::uint32_t index) {
    if (per_report_ == perturbations_.size()) return perturbations_;
    drawn_ = perturbations_;
    constexpr std::uint32_t choice_stream = 0xC401;
    Random(options_.seed, choice_stream, epoch, index).shuffle(drawn_.begin(), drawn_.end());
    return std::span(drawn_).first(per_report_);
  }

  void add_text(const std::string& text, PairBatch& batch) {
    word_piece_->encode(text, static_cast<std::size_t>(options_.max_pieces()), batch.pieces, batch.word_slot);
    batch.offsets.push_back(static_cast<Index>(batch.pieces.size()));
  }

  PairBatchOptions options_;
  const text::WordPiece* word_piece_;
  std::vector<text::Perturbation> perturbations_, drawn_;
  std::size_t per_report_;
  text::WordReader<> reader_;
  text::Perturber<> perturber_;
  text::Words words_;
  text::PerturbedReport perturbed_;
  std::vector<std::int32_t> slots_;
};

}  // namespace vlp::data

namespace vlp {
template <>
inline constexpr std::array<std::string_view, 2> enum_names<data::LocalWords>{"nouns", "all"};
}  // namespace vlp
