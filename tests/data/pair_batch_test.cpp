#include "support/catch.hpp"
#include "support/messages.hpp"

#include <vlp/data/pair_batch.hpp>
#include <vlp/text/build_vocabulary.hpp>

#include <cmath>
#include <cstdint>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

using namespace vlp;
using data::PairBatch;
using test::message_of;

namespace {

const std::vector<std::string> reports{"Small left effusion.",
                                       "The lungs are clear. The heart is large today.", "Clear."};

std::vector<data::Example> examples() {
  std::vector<data::Example> out;
  for (std::size_t i = 0; i < reports.size(); ++i) {
    data::Example example;
    example.name = "example " + std::to_string(i);
    example.report = reports[i];
    example.text_id = static_cast<std::int64_t>(10 + i);
    example.image_id = static_cast<std::int64_t>(i);
    out.push_back(std::move(example));
  }
  return out;
}

/// Images of 4 x 4 pixels, in memory.
data::Images images() {
  std::vector<data::Pixels> pixels(6);
  for (std::size_t i = 0; i < pixels.size(); ++i)
    for (std::uint16_t p = 0; p < 16; ++p) pixels[i].push_back(static_cast<std::uint16_t>(1000 * p + 7 * i));
  return {4, std::move(pixels)};
}

text::WordPiece word_piece() {
  return text::WordPiece(text::build_vocabulary(reports, {.size = 100}));
}

std::vector<std::int32_t> slots_of(const PairBatch& batch, std::size_t text) {
  return {batch.word_slot.begin() + batch.offsets[text], batch.word_slot.begin() + batch.offsets[text + 1]};
}

}  // namespace

TEST_CASE("a batch holds images, texts and perturbations in the order of its indices") {
  const auto pieces = word_piece();
  data::PairBatchMaker maker({.image_size = 4}, pieces, text::parse_perturbations("6,9"));
  const std::vector<Index> indices{1, 0};
  const PairBatch batch = maker.make(images(), examples(), indices, 0);
  CHECK(batch.pairs == 2);
  CHECK(batch.texts_per_pair == 3);
  CHECK(batch.examples == indices);
  CHECK(batch.group == std::vector<std::int64_t>{11, 10});
  REQUIRE(batch.images.size() == 32);
  for (int b = 0; b < 2; ++b) {
    const float* image = &batch.images[static_cast<std::size_t>(16 * b)];
    CHECK(std::abs(std::accumulate(image, image + 16, 0.0f)) < 1e-4f);
    CHECK(std::abs(std::inner_product(image, image + 16, image, 0.0f) / 16 - 1) < 1e-3f);
  }
  REQUIRE(batch.offsets.size() == 7);
  CHECK(batch.offsets.front() == 0);
  CHECK(batch.offsets.back() == static_cast<Index>(batch.pieces.size()));
  std::vector<std::int32_t> ids, words;
  pieces.encode("small left effusion", 100, ids, words);
  CHECK(std::vector<std::int32_t>(batch.pieces.begin() + batch.offsets[3],
                                  batch.pieces.begin() + batch.offsets[4]) == ids);
  ids.clear();
  pieces.encode("effusion left small", 100, ids, words);  // perturbation 6
  CHECK(std::vector<std::int32_t>(batch.pieces.begin() + batch.offsets[4],
                                  batch.pieces.begin() + batch.offsets[5]) == ids);
}

TEST_CASE("a report that is right for another image of the batch is in its group") {
  const auto pieces = word_piece();
  data::PairBatchMaker maker({.image_size = 4}, pieces, {});
  // Images 0 and 1 with texts: 0 has 10 and 11, 1 has 11 and 12; others have one.
  auto all = examples();
  const auto pair = [&](std::int64_t image, std::int64_t text) {
    data::Example example = all[0];
    example.image_id = image;
    example.text_id = text;
    if (image < 2)
      example.image_texts = std::make_shared<const std::vector<std::int64_t>>(
          image == 0 ? std::vector<std::int64_t>{10, 11} : std::vector<std::int64_t>{11, 12});
    return example;
  };
  all = {pair(0, 10), pair(0, 11), pair(1, 11), pair(1, 12),
         pair(2, 13), pair(3, 13), pair(4, 14), pair(5, 11)};
  const auto group = [&](const std::vector<Index>& indices) {
    return maker.make(images(), all, indices, 0).group;
  };
  using Groups = std::vector<std::int64_t>;
  CHECK(group({0, 1}) == Groups{10, 10});                // one image
  CHECK(group({4, 5, 6}) == Groups{13, 13, 14});         // equal reports
  CHECK(group({2, 6, 1}) == Groups{11, 14, 11});         // equal reports, of images with others
  CHECK(group({0, 6, 2}) == Groups{10, 14, 10});         // report 11 is right for image 0 as well
  CHECK(group({6, 2, 0, 4}) == Groups{14, 11, 11, 13});  // in any order
  CHECK(group({0, 3, 4}) == Groups{10, 12, 13});         // image 0 has no report of image 1 here
  CHECK(group({0, 6, 3, 2}) == Groups{10, 14, 10, 10});  // linked through pair 2
  CHECK(group({0, 2, 7}) == Groups{10, 10, 10});         // each pair with a report of image 0
  CHECK(group({6, 0, 4, 5, 3, 1}) == Groups{14, 10, 13, 13, 10, 10});
}

TEST_CASE("local words are numbered within their report and get rows of the batch") {
  const auto pieces = word_piece();
  const std::vector<Index> indices{0, 1};
  data::PairBatchMaker nouns({.image_size = 4}, pieces, text::parse_perturbations("6"));
  const PairBatch batch = nouns.make(images(), examples(), indices, 0);
  CHECK(batch.word_count == std::vector<std::int64_t>{1, 3});  // effusion; lungs, heart, today
  CHECK(batch.max_words == 3);
  const auto first = slots_of(batch, 0), second = slots_of(batch, 2);
  CHECK(first.front() == -1);  // [CLS]
  CHECK(first.back() == -1);   // [SEP]
  CHECK(*std::max_element(first.begin(), first.end()) == 0);
  CHECK(*std::max_element(second.begin(), second.end()) == 5);
  CHECK(std::count(second.begin(), second.end(), 3) >= 1);
  for (const std::size_t perturbed : {1, 3})
    for (const std::int32_t slot : slots_of(batch, perturbed)) CHECK(slot == -1);

  data::PairBatchMaker all({.image_size = 4, .local_words = data::LocalWords::all}, pieces, {});
  const PairBatch whole = all.make(images(), examples(), indices, 0);
  CHECK(whole.word_count == std::vector<std::int64_t>{3, 9});
  CHECK(whole.texts_per_pair == 1);
  // A report without a noun has all its words.
  const std::vector<Index> clear{2};
  CHECK(nouns.make(images(), examples(), clear, 0).word_count == std::vector<std::int64_t>{1});
}

TEST_CASE("a part of a batch is a view of its pairs") {
  const auto pieces = word_piece();
  data::PairBatchMaker maker({.image_size = 4}, pieces, text::parse_perturbations("6"));
  const std::vector<Index> indices{1, 0, 2};
  const PairBatch batch = maker.make(images(), examples(), indices, 0);
  const data::PairBatchPart part = part_of(batch, 1, 2);
  CHECK(part.first_pair == 1);
  CHECK(part.pairs == 2);
  CHECK(part.texts_per_pair == 2);
  CHECK(part.max_words == batch.max_words);
  CHECK(part.images.data() == batch.images.data() + 16);
  CHECK(part.images.size() == 32);
  REQUIRE(part.offsets.size() == 5);
  CHECK(part.offsets.data() == batch.offsets.data() + 2);
  CHECK(part.pieces.data() == batch.pieces.data() + batch.offsets[2]);
  CHECK(part.pieces.data() + part.pieces.size() == batch.pieces.data() + batch.pieces.size());
  CHECK(part.word_slot.data() == batch.word_slot.data() + batch.offsets[2]);
  CHECK(part.word_slot.size() == part.pieces.size());
  CHECK(part_of(batch, 3, 0).pieces.empty());
  CHECK(part_of(batch, 0, 3).pieces.size() == batch.pieces.size());
  for (const auto& [first, count] : {std::pair<Index, Index>{-1, 1}, {2, 2}, {4, 0}, {0, -1}})
    CHECK(message_of<std::invalid_argument>([&, f = first, c = count] {
            static_cast<void>(part_of(batch, f, c));
          }) == "part_of: pairs " + std::to_string(first) + " to " + std::to_string(first + count) +
                    " of a batch of 3");
}

TEST_CASE("a perturbation that changes nothing is no candidate and has no words") {
  const auto pieces = word_piece();
  data::PairBatchMaker maker({.image_size = 4}, pieces, text::parse_perturbations("6,9"));
  const std::vector<Index> one_word{2};
  const PairBatch batch = maker.make(images(), examples(), one_word, 0);
  CHECK(batch.valid == std::vector<std::uint8_t>{1, 0, 0});
  CHECK(batch.offsets[2] - batch.offsets[1] == 2);  // [CLS] [SEP]
}

TEST_CASE("a report is cut at its longest text, and words cut off have no row") {
  const auto pieces = word_piece();
  data::PairBatchMaker maker({.image_size = 4, .max_words = 2, .local_words = data::LocalWords::all}, pieces,
                             {});
  const std::vector<Index> indices{1};
  const PairBatch batch = maker.make(images(), examples(), indices, 0);
  CHECK(batch.offsets[1] <= 6);
  CHECK(batch.word_count[0] == 2);
}

TEST_CASE("perturbations are drawn anew for each epoch and the same for the same one") {
  const auto pieces = word_piece();
  data::PairBatchMaker maker({.image_size = 4, .seed = 3}, pieces, text::parse_perturbations("all"), 2);
  const std::vector<Index> indices{1};
  const auto pieces_of = [&](std::uint32_t epoch) {
    return maker.make(images(), examples(), indices, epoch).pieces;
  };
  CHECK(maker.make(images(), examples(), indices, 0).texts_per_pair == 3);
  CHECK(pieces_of(0) == pieces_of(0));
  bool differs = false;
  for (std::uint32_t epoch = 1; epoch < 6; ++epoch) differs |= pieces_of(epoch) != pieces_of(0);
  CHECK(differs);
}

TEST_CASE("images of another size are refused with both sizes") {
  const auto pieces = word_piece();
  data::PairBatchMaker maker({.image_size = 8}, pieces, {});
  const std::vector<Index> indices{0};
  CHECK(message_of<std::invalid_argument>([&] { maker.make(images(), examples(), indices, 0); }) ==
        "PairBatchMaker: images of 4 x 4 pixels for batches of 8 x 8");
}
