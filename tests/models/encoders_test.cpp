#include "support/catch.hpp"
#include "support/layer_gradient.hpp"
#include "support/messages.hpp"

#include <vlp/models/image_encoder.hpp>
#include <vlp/models/text_encoder.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

using namespace vlp;
using namespace vlp::test;
using Values = std::vector<double>;

namespace {

/// Random sequences of the given lengths, each beginning with id 2.
struct Reports {
  std::vector<std::int32_t> ids, types;
  std::vector<Index> offsets{0};

  Reports(const std::vector<Index>& lengths, std::uint32_t vocabulary) {
    Random random(21);
    for (Index length : lengths) {
      for (Index i = 0; i < length; ++i) {
        ids.push_back(i == 0 ? 2 : static_cast<std::int32_t>(random.below(vocabulary)));
        types.push_back(i > length / 2);
      }
      offsets.push_back(static_cast<Index>(ids.size()));
    }
  }
  [[nodiscard]] Index tokens() const { return static_cast<Index>(ids.size()); }
  [[nodiscard]] Index sequences() const { return static_cast<Index>(offsets.size()) - 1; }
  template <class Device>
  [[nodiscard]] nn::Tokens<Device> tokens_on(Device& device, bool with_types = false) const {
    nn::Tokens<Device> out;
    out.assign(device, ids, offsets, with_types ? types : std::vector<std::int32_t>());
    return out;
  }
};

template <class Scalar>
struct TextResult {
  std::vector<Scalar> cls, pieces, gradients;
};

template <class Scalar>
TextResult<Scalar> run_text(const models::TextEncoderOptions& options, const Reports& reports, int threads) {
  Cpu device(threads);
  models::TextEncoder<Scalar> encoder(options, Random(1));
  const Parameters<Scalar> parameters(device, encoder);
  const nn::Tokens<> tokens = reports.tokens_on(device);
  TextResult<Scalar> out;
  out.cls.resize(static_cast<std::size_t>(reports.sequences() * options.width));
  out.pieces.resize(static_cast<std::size_t>(reports.tokens() * options.width));
  const auto cls = as_view(out.cls, reports.sequences(), options.width);
  const auto pieces = as_view(out.pieces, reports.tokens(), options.width);
  encoder.forward(device, tokens, cls, pieces);
  encoder.backward(device, tokens, cls, pieces);
  const auto gradients = parameters.gradients();
  out.gradients.assign(gradients.data(), gradients.data() + gradients.size());
  return out;
}

}  // namespace

TEST_CASE("gradients of the text encoder agree with central differences") {
  const Reports reports({4, 1, 3}, 7);
  const Index tokens = reports.tokens(), width = 4;
  const auto last_layers = GENERATE(Index(1), Index(3), Index(4));
  const auto pooling = GENERATE(nn::Pooling::sum, nn::Pooling::mean);
  const bool with_types = GENERATE(false, true);
  const models::TextEncoderOptions options{.vocabulary = 7,
                                           .positions = 5,
                                           .width = width,
                                           .depth = 3,
                                           .heads = 2,
                                           .hidden = 6,
                                           .last_layers = last_layers,
                                           .layer_pooling = pooling,
                                           .gelu = with_types ? nn::GeluForm::erf : nn::GeluForm::tanh};
  on_every_device([&](auto& device) {
    models::TextEncoder<double, DeviceOf<decltype(device)>> encoder(options, Random(3));
    const auto input = reports.tokens_on(device, with_types);
    LayerGradient gradient(device);
    const auto& cls = gradient.output(3 * width);
    const auto& pieces = gradient.output(tokens * width);
    gradient.parameters(encoder);
    return gradient.check(
        [&] { encoder.forward(device, input, cls.value.view(3, width), pieces.value.view(tokens, width)); },
        [&] {
          encoder.backward(device, input, cls.gradient.view(3, width), pieces.gradient.view(tokens, width));
        },
        4);
  });
}

TEST_CASE("the text encoder's results are its last layers'") {
  Cpu device(1);
  const Reports reports({4, 2}, 7);
  models::TextEncoderOptions options{.vocabulary = 7, .width = 4, .depth = 2, .heads = 2, .last_layers = 1};
  const auto last = run_text<double>(options, reports, 1);
  CHECK(std::equal(last.cls.begin(), last.cls.begin() + 4, last.pieces.begin()));
  CHECK(std::equal(last.cls.begin() + 4, last.cls.end(), last.pieces.begin() + 16));
  options.last_layers = 2;
  const auto sum = run_text<double>(options, reports, 1);
  options.layer_pooling = nn::Pooling::mean;
  const auto mean = run_text<double>(options, reports, 1);
  CHECK(sum.cls == last.cls);
  CHECK(largest_difference(sum.pieces, last.pieces) > 0.1);
  Values half = sum.pieces;
  for (double& x : half) x /= 2;
  CHECK(largest_difference(mean.pieces, half) < 1e-14);
}

TEST_CASE("either gradient of the text encoder may be left out") {
  Cpu device(1);
  const Reports reports({4, 2}, 7);
  models::TextEncoder<double> encoder({.vocabulary = 7, .width = 4, .heads = 2}, Random(3));
  Parameters<double> parameters(device, encoder);
  const nn::Tokens<> tokens = reports.tokens_on(device);
  const Values d_cls = normal_values(8, 1), d_pieces = normal_values(24, 2);
  encoder.forward(device, tokens, {}, {});
  const auto gradients = [&](bool use_cls, bool use_pieces) {
    parameters.zero_gradients(device);
    encoder.backward(device, tokens, use_cls ? as_view(d_cls, 2, 4) : MatrixView<const double>(),
                     use_pieces ? as_view(d_pieces, 6, 4) : MatrixView<const double>());
    const auto all = parameters.gradients();
    return Values(all.data(), all.data() + all.size());
  };
  Values parts = gradients(true, false);
  const Values other = gradients(false, true), both = gradients(true, true);
  for (std::size_t i = 0; i < parts.size(); ++i) parts[i] += other[i];
  CHECK(largest_difference(parts, both) < 1e-12);
}

TEST_CASE("a report is encoded alike alone and in any batch") {
  Cpu device(2);
  const Reports batch({5, 40, 1, 17}, 30);
  const models::TextEncoderOptions options{.vocabulary = 30, .width = 12, .heads = 3};
  const auto packed = run_text<double>(options, batch, 2);
  models::TextEncoder<double> encoder(options, Random(1));
  const Parameters<double> parameters(device, encoder);
  nn::Tokens<> tokens;
  // In reverse order, and each alone.
  std::vector<std::int32_t> ids;
  std::vector<Index> offsets{0};
  for (std::size_t s = 4; s-- > 0;) {
    ids.insert(ids.end(), batch.ids.begin() + batch.offsets[s], batch.ids.begin() + batch.offsets[s + 1]);
    offsets.push_back(static_cast<Index>(ids.size()));
  }
  Values cls(4 * 12), pieces(ids.size() * 12);
  tokens.assign(device, ids, offsets);
  encoder.forward(device, tokens, as_view(cls, 4, 12), as_view(pieces, ids.size(), 12));
  for (std::size_t s = 0; s < 4; ++s) {
    const Index begin = batch.offsets[s], length = batch.offsets[s + 1] - begin;
    const std::vector<Index> one{0, length};
    Values alone_cls(12), alone_pieces(static_cast<std::size_t>(length) * 12);
    tokens.assign(
        device,
        std::span(batch.ids).subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(length)), one);
    encoder.forward(device, tokens, as_view(alone_cls, 1, 12), as_view(alone_pieces, length, 12));
    const auto at = [&](const Values& v, Index row, Index rows) {
      return Values(v.begin() + row * 12, v.begin() + (row + rows) * 12);
    };
    CHECK(largest_difference(alone_pieces, at(packed.pieces, begin, length)) < 1e-12);
    CHECK(largest_difference(alone_cls, at(packed.cls, static_cast<Index>(s), 1)) < 1e-12);
    CHECK(largest_difference(alone_pieces, at(pieces, offsets[3 - s], length)) < 1e-12);
    CHECK(largest_difference(alone_cls, at(cls, static_cast<Index>(3 - s), 1)) < 1e-12);
  }
}

TEST_CASE("the text encoder does not depend on the number of threads nor much on the precision") {
  const Reports reports({30, 3, 90, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64},
                        50);
  REQUIRE(reports.tokens() > 1024);  // long enough for weight gradients to be cut along K
  const models::TextEncoderOptions options{.vocabulary = 50, .width = 16, .heads = 2};
  const auto one = run_text<float>(options, reports, 1);
  for (int threads : {2, 3}) {
    const auto more = run_text<float>(options, reports, threads);
    CHECK(more.cls == one.cls);
    CHECK(more.pieces == one.pieces);
    CHECK(more.gradients == one.gradients);
  }
  const auto precise = run_text<double>(options, reports, 2);
  CHECK(largest_difference(one.pieces, precise.pieces) < 2e-4);
  double scale = 0;
  for (double g : precise.gradients) scale = std::max(scale, std::abs(g));
  CHECK(largest_difference(one.gradients, precise.gradients) < 2e-4 * scale);
}

TEST_CASE("parameters of the text encoder are named and know whether they decay") {
  models::TextEncoder<float> encoder({.vocabulary = 7, .positions = 5, .width = 4, .heads = 2}, Random(1));
  Cpu device(1);
  const Parameters<float> parameters(device, encoder, "text");
  const ParameterList<float>& list = parameters.list();
  const auto find = [&](const std::string& name) {
    const auto at = std::find_if(list.begin(), list.end(), [&](const auto& p) { return p.name == name; });
    REQUIRE(at != list.end());
    return at->parameter;
  };
  CHECK(list.size() == 5 + 2 * 12);
  CHECK(find("text.embedding.word")->extents() == std::vector<Index>{7, 4});
  CHECK(find("text.block1.attention.query_key_value.weight")->extents() == std::vector<Index>{12, 4});
  CHECK(find("text.block0.feed_forward.first.weight")->extents() == std::vector<Index>{16, 4});
  CHECK(find("text.block0.feed_forward.first.weight")->weight_decay() == WeightDecay::yes);
  CHECK(find("text.embedding.position")->weight_decay() == WeightDecay::no);
  CHECK(find("text.block0.norm2.weight")->weight_decay() == WeightDecay::no);
  for (const auto& [name, parameter] : list)
    for (Index i = 0; i < parameter->size(); ++i)
      if (!(std::abs(parameter->value()[i]) <= 1.0f) || parameter->gradient()[i] != 0) FAIL(name);
}

TEST_CASE("the text encoder names what does not fit") {
  Cpu device(1);
  models::TextEncoder<float> encoder({.vocabulary = 7, .positions = 3, .types = 1, .width = 4, .heads = 2},
                                     Random(1));
  const Parameters<float> parameters(device, encoder);
  nn::Tokens<> tokens;
  std::vector<float> out(100);
  const auto error = [&](std::vector<std::int32_t> ids, std::vector<Index> offsets,
                         std::vector<std::int32_t> types = {}) {
    return message_of<std::invalid_argument>([&] {
      tokens.assign(device, ids, offsets, types);
      encoder.forward(device, tokens, {}, {});
    });
  };
  CHECK(error({1, 7}, {0, 2}) == "Embedding: id 7 of token 1 is outside of the table of 7");
  CHECK(error({-1}, {0, 1}) == "Embedding: id -1 of token 0 is outside of the table of 7");
  CHECK(error({1, 1, 1, 1}, {0, 4}) == "Embedding: sequence 0 has 4 tokens but there are 3 positions");
  CHECK(error({1, 1}, {0, 2, 2}) == "TextEncoder: sequence 1 has no tokens");
  CHECK(error({1, 1}, {0, 1}) == "Tokens: offsets end at 1 but there are 2 tokens");
  CHECK(error({1, 1}, {0, 2}, {0, 1}) == "Embedding: type id 1 of token 1 is outside of the table of 1");
  CHECK(error({1, 1}, {0, 2}, {0}) == "Tokens: 1 type ids for 2 tokens");
  CHECK(error({}, {0}) == "no error");
  tokens.assign(device, std::vector<std::int32_t>{1, 2}, std::vector<Index>{0, 2});
  CHECK(message_of<std::invalid_argument>([&] { encoder.forward(device, tokens, as_view(out, 2, 4), {}); }) ==
        "TextEncoder: cls is 2 x 4 but must be 1 x 4");
  CHECK(message_of<std::invalid_argument>([&] { encoder.backward(device, tokens, {}, {}); }) ==
        "TextEncoder: 2 tokens in backward but there were 0 in forward");
  CHECK(message_of<std::invalid_argument>([] {
          models::TextEncoder<float>({.vocabulary = 7, .depth = 2, .last_layers = 4}, Random(1));
        }) == "TextEncoder: last_layers is 4 but must be from 1 to the depth + 1, 3");
  CHECK(message_of<std::invalid_argument>([] { models::TextEncoder<float>({}, Random(1)); }) ==
        "Embedding: vocabulary must be at least 1, but is 0");
}

TEST_CASE("gradients of the image encoder agree with central differences") {
  const auto region_depth = GENERATE(-1, 0, 1);  // after both blocks, before them, between them
  const models::ImageEncoderOptions options{.image_size = 8,
                                            .channels = 2,
                                            .stem_channels = {3},
                                            .width = 4,
                                            .heads = 2,
                                            .region_depth = region_depth};
  on_every_device([&](auto& device) {
    models::ImageEncoder<double, DeviceOf<decltype(device)>> encoder(options, Random(3));
    CHECK(encoder.regions() == 4);
    LayerGradient gradient(device);
    const auto& images = gradient.input("images", normal_values(2 * 8 * 8 * 2, 1));
    const auto& regions = gradient.output(2 * 4 * 4);
    const auto& global = gradient.output(2 * 4);
    gradient.parameters(encoder);
    return gradient.check(
        [&] {
          encoder.forward(device, images.value.view(2, 8, 8, 2), regions.value.view(2, 4, 4),
                          global.value.view(2, 4));
        },
        [&] {
          encoder.backward(device, images.value.view(2, 8, 8, 2), regions.gradient.view(2, 4, 4),
                           global.gradient.view(2, 4), images.gradient.view(2, 8, 8, 2));
        },
        4);
  });
}

TEST_CASE("early regions know their surroundings alone and need no blocks") {
  Cpu device(1);
  models::ImageEncoder<double> encoder(
      {.image_size = 32, .stem_channels = {2}, .width = 4, .heads = 2, .region_depth = 0}, Random(3));
  Parameters<double> parameters(device, encoder);
  Values images = normal_values(32 * 32, 1), regions(64 * 4), others(64 * 4);
  encoder.forward(device, as_view(images, 1, 32, 32, 1), as_view(regions, 1, 64, 4), {});
  images[31 * 32 + 31] += 1;  // the last pixel
  encoder.forward(device, as_view(images, 1, 32, 32, 1), as_view(others, 1, 64, 4), {});
  for (std::size_t i = 0; i < regions.size(); ++i) CHECK((regions[i] == others[i]) == (i / 4 != 63));

  parameters.zero_gradients(device);
  encoder.backward(device, as_view(images, 1, 32, 32, 1), as_view(regions, 1, 64, 4), {});
  for (const auto& [name, parameter] : parameters.list()) {
    const double* g = parameter->gradient().data();
    const bool touched = std::any_of(g, g + parameter->size(), [](double x) { return x != 0; });
    INFO(name);
    CHECK(touched == (name.find("block") == std::string::npos && name.rfind("norm", 0) != 0));
  }
  CHECK(message_of<std::invalid_argument>([] {
          models::ImageEncoder<float>({.depth = 2, .region_depth = 3}, Random(1));
        }) == "ImageEncoder: region_depth must be from -1 to the depth 2, but is 3");
}

TEST_CASE("the image encoder does not depend on the number of threads, nor on the other images") {
  const Index batch = 9;
  const auto images = normal_values<float>(batch * 32 * 32, 1);
  std::vector<float> first, first_gradients;
  for (int threads : {1, 2, 3}) {
    Cpu device(threads);
    models::ImageEncoder<float> encoder({.image_size = 32, .stem_channels = {4, 8}, .width = 16}, Random(3));
    const Parameters<float> parameters(device, encoder);
    std::vector<float> regions(static_cast<std::size_t>(batch * 16 * 16)),
        global(static_cast<std::size_t>(batch * 16));
    const auto input = as_view(images, batch, 32, 32, 1);
    encoder.forward(device, input, as_view(regions, batch, 16, 16), as_view(global, batch, 16));
    encoder.backward(device, input, as_view(regions, batch, 16, 16), {});
    const auto all = parameters.gradients();
    const std::vector<float> gradients(all.data(), all.data() + all.size());
    if (first.empty()) {
      first = regions;
      first_gradients = gradients;
    }
    CHECK(regions == first);
    CHECK(gradients == first_gradients);

    std::vector<float> mean(global.size());
    for (std::size_t b = 0; b < 9; ++b)
      for (std::size_t r = 0; r < 16; ++r)
        for (std::size_t j = 0; j < 16; ++j) mean[b * 16 + j] += regions[(b * 16 + r) * 16 + j] / 16;
    CHECK(largest_difference(mean, global) < 1e-5);
    std::vector<float> alone(16);
    encoder.forward(device, input.slice(4, 1), {}, as_view(alone, 1, 16));
    CHECK(largest_difference(alone, std::vector<float>(global.begin() + 4 * 16, global.begin() + 5 * 16)) <
          1e-5);
  }
}

TEST_CASE("the image encoder names what does not fit") {
  Cpu device(1);
  CHECK(message_of<std::invalid_argument>([] {
          models::ImageEncoder<float>({.image_size = 60}, Random(1));
        }) == "ImageEncoder: the image size 60 is not a multiple of the patch stride 8");
  CHECK(message_of<std::invalid_argument>([] {
          models::ImageEncoder<float>({.image_size = 0}, Random(1));
        }) == "ImageEncoder: image_size must be at least 1, but is 0");
  models::ImageEncoder<float> encoder({.image_size = 8, .stem_channels = {2}, .width = 4, .heads = 2},
                                      Random(1));
  const Parameters<float> parameters(device, encoder);
  std::vector<float> memory(1000);
  CHECK(message_of<std::invalid_argument>([&] {
          encoder.forward(device, as_view(memory, 1, 8, 9, 1), {}, {});
        }) == "ImageEncoder: images are 8 x 9 x 1 but must be 8 x 8 x 1");
  CHECK(message_of<std::invalid_argument>([&] {
          encoder.forward(device, as_view(memory, 1, 8, 8, 1), as_view(memory, 1, 3, 4), {});
        }) == "ImageEncoder: region features is 1 x 3 x 4 but must be 1 x 4 x 4");
  CHECK(message_of<std::invalid_argument>([&] {
          encoder.backward(device, as_view(memory, 1, 8, 8, 1), {}, {});
        }) == "ImageEncoder: 1 images in backward are not those of forward");
}

TEST_CASE("encoders allocate nothing once warm") {
  Cpu device(2);
  const Reports reports({30, 3, 9}, 50);
  models::TextEncoder<float> encoder({.vocabulary = 50, .width = 16, .heads = 2}, Random(1));
  const Parameters<float> parameters(device, encoder);
  nn::Tokens<> tokens;
  std::vector<float> cls(3 * 16), pieces(42 * 16);
  const auto step = [&] {
    tokens.assign(device, reports.ids, reports.offsets);
    encoder.forward(device, tokens, as_view(cls, 3, 16), as_view(pieces, 42, 16));
    encoder.backward(device, tokens, as_view(cls, 3, 16), as_view(pieces, 42, 16));
  };
  step();
  step();
  const auto before = device.scratch().allocations();
  step();
  CHECK(device.scratch().allocations() == before);
}
