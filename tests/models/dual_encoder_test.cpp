// The dual encoder writes into the caller's memory, and reads gradients there.
#include "support/catch.hpp"
#include "support/messages.hpp"

#include <vlp/core/parameters.hpp>
#include <vlp/models/dual_encoder.hpp>

#include <array>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

using namespace vlp;
using test::message_of;

namespace {

/// Three pairs of an image and two texts.
struct Pairs {
  Cpu device{1};
  std::vector<double> images;
  nn::Tokens<> texts;
  nn::WordSlots<> word_slots;

  Pairs() {
    Random random(3);
    for (int i = 0; i < 3 * 16 * 16; ++i) images.push_back(static_cast<double>(random.normal()));
    texts.assign(device, std::vector<std::int32_t>{1, 5, 2, 1, 6, 2, 1, 7, 2, 1, 2, 1, 3, 4, 2, 1, 2},
                 std::vector<Index>{0, 3, 6, 9, 11, 15, 17});
    word_slots.assign(
        device, std::vector<std::int32_t>{-1, 0, -1, -1, -1, -1, -1, 2, -1, -1, -1, -1, 4, 5, -1, -1, -1});
  }
  [[nodiscard]] models::PairInputs<double, Cpu> inputs() const {
    return {.images = {images.data(), {3, 16, 16, 1}},
            .texts = texts,
            .word_slots = word_slots,
            .texts_per_pair = 2,
            .words_per_text = 2};
  }
};

models::DualEncoder<double> small_encoder(bool with_regions) {
  return {{.width = 8, .heads = 2, .text_blocks = 1, .embedding = 6},
          {.image_size = 16, .vocabulary = 10, .longest_text = 8, .with_regions = with_regions},
          1};
}

}  // namespace

TEST_CASE("the features of a batch fill a slice of the caller's memory and nothing else") {
  Pairs pairs;
  auto model = small_encoder(true);
  const Parameters<double> parameters(pairs.device, model);
  models::PairFeatureBuffers<double> own, large;
  const auto& features = own.resize(model.feature_extents(3, 2, 2));
  CHECK(features.regions.extents() == std::array<Index, 3>{3, 4, 6});
  model.forward(pairs.device, pairs.inputs(), features);

  const auto& all = large.resize(model.feature_extents(5, 2, 2));
  const auto fill_with = [&](double value) {
    fill(pairs.device, all.image.data(), all.image.size(), value);
    for (const auto& view : {all.text, all.regions, all.words})
      fill(pairs.device, view.data(), view.size(), value);
  };
  fill_with(-7);
  model.forward(pairs.device, pairs.inputs(), all.slice(1, 3));
  for (Index b = 0; b < 5; ++b)
    for (Index d = 0; d < 6; ++d) {
      const bool inside = b >= 1 && b < 4;
      CHECK(all.image(b, d) == (inside ? features.image(b - 1, d) : -7));
      for (Index k = 0; k < 2; ++k) {
        CHECK(all.text(b, k, d) == (inside ? features.text(b - 1, k, d) : -7));
        CHECK(all.words(b, k, d) == (inside ? features.words(b - 1, k, d) : -7));
      }
      for (Index r = 0; r < 4; ++r)
        CHECK(all.regions(b, r, d) == (inside ? features.regions(b - 1, r, d) : -7));
    }
}

TEST_CASE("the dual encoder names features that do not fit the batch") {
  Pairs pairs;
  auto model = small_encoder(true), global = small_encoder(false);
  const Parameters<double> parameters(pairs.device, model), of_global(pairs.device, global);
  models::PairFeatureBuffers<double> buffers;
  const models::PairFeatures<double> good = buffers.resize(model.feature_extents(3, 2, 2));
  const auto message = [&](auto change) {
    models::PairFeatures<double> features = good;
    change(features);
    return message_of<std::invalid_argument>([&] { model.forward(pairs.device, pairs.inputs(), features); });
  };
  CHECK(message([](auto& f) { f.image = f.image.slice(0, 2); }) ==
        "DualEncoder: features.image is 2 x 6 but must be 3 x 6");
  CHECK(message([](auto& f) {
          f.text = {f.text.data(), {3, 1, 6}};
        }) == "DualEncoder: features.text is 3 x 1 x 6 but must be 3 x 2 x 6");
  CHECK(message([](auto& f) { f.regions = {}; }) ==
        "DualEncoder: features.regions is 0 x 0 x 0 but must be 3 x 4 x 6");
  CHECK(message([](auto& f) { f.words = f.words.slice(0, 1); }) ==
        "DualEncoder: features.words is 1 x 2 x 6 but must be 3 x 2 x 6");
  model.forward(pairs.device, pairs.inputs(), good);
  CHECK(message_of<std::invalid_argument>([&] {
          model.backward(pairs.device, pairs.inputs(), good.slice(0, 1));
        }) == "DualEncoder: d_features.image is 1 x 6 but must be 3 x 6");
  CHECK(model.feature_extents(3, 2, 2).regions == 4);
  CHECK(global.feature_extents(3, 2, 2).regions == 0);
  const models::PairFeatures<double> without = buffers.resize(global.feature_extents(3, 2, 2));
  CHECK_FALSE(without.regions.given());
  CHECK_FALSE(without.words.given());
  global.forward(pairs.device, pairs.inputs(), without);
}
