// The decoder of reports: gradients, branches, causality, output matrix, attention to contexts.
#include "support/catch.hpp"
#include "support/layer_gradient.hpp"
#include "support/messages.hpp"

#include <vlp/models/report_decoder.hpp>
#include <vlp/nn/sequences.hpp>
#include <vlp/nn/tokens.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

using namespace vlp;
using namespace vlp::test;
using Values = std::vector<double>;
using Ids = std::vector<std::int32_t>;
using Offsets = std::vector<Index>;

namespace {

constexpr Index vocabulary = 7, positions = 5, width = 8, context_width = 6;

models::ReportDecoderOptions options_of(bool tied = true, Index depth = 2) {
  return {.vocabulary = vocabulary,
          .positions = positions,
          .width = width,
          .depth = depth,
          .heads = 2,
          .context_width = context_width,
          .branches = {"summary", "caption"},
          .tied_output = tied};
}

/// Moves parameters off their starting values, where biases are all zero.
template <class Scalar, class Device>
void perturb(Device& device, const Parameters<Scalar, Device>& parameters) {
  Random random(5);
  for (const auto& [name, parameter] : parameters.list()) {
    std::vector<Scalar> value = download_value(device, *parameter);
    for (Scalar& v : value) v += static_cast<Scalar>(0.2f * random.normal());
    upload_value(device, *parameter, value);
  }
}

/// A decoder with a batch of three texts.
template <class Scalar>
struct Setting {
  Cpu device{2};
  models::ReportDecoder<Scalar> decoder;
  Parameters<Scalar> parameters;
  Ids ids{2, 4, 5, 2, 6, 6, 4, 2};
  Offsets offsets{0, 3, 7, 8}, context_offsets{0, 2, 3, 7};
  std::vector<Scalar> context = normal_values<Scalar>(7 * context_width, 1);

  explicit Setting(const models::ReportDecoderOptions& options = options_of())
      : decoder(options, Random(1)), parameters(device, decoder) {
    perturb(device, parameters);
  }

  struct Result {
    std::vector<Scalar> hidden, logits, weights;
  };
  Result operator()(Index branch = 0, Index block = -1) {
    nn::Tokens<> tokens;
    tokens.assign(device, ids, offsets);
    nn::Sequences<> contexts;
    contexts.assign(device, context_offsets);
    const auto count = static_cast<Index>(ids.size()), rows = context_offsets.back();
    Result out;
    out.hidden.resize(ids.size() * width);
    out.logits.resize(ids.size() * vocabulary);
    out.weights.resize(ids.size() * static_cast<std::size_t>(contexts.longest().value));
    decoder.forward(device,
                    {.tokens = tokens,
                     .context = MatrixView<const Scalar>(context.data(), {rows, context_width}),
                     .contexts = contexts,
                     .branch = branch},
                    as_view(out.hidden, count, width),
                    {.weights = as_view(out.weights, count, contexts.longest().value), .block = block});
    decoder.logits(device, as_view(std::as_const(out.hidden), count, width),
                   as_view(out.logits, count, vocabulary));
    return out;
  }
};

/// Rows [begin, end) of a matrix.
template <class Scalar>
std::vector<Scalar> rows_of(const std::vector<Scalar>& matrix, Index columns, Index begin, Index end) {
  return {matrix.begin() + static_cast<std::ptrdiff_t>(begin * columns),
          matrix.begin() + static_cast<std::ptrdiff_t>(end * columns)};
}

template <class Scalar>
std::vector<std::string> names_of(const Parameters<Scalar>& parameters) {
  std::vector<std::string> out;
  for (const auto& named : parameters.list()) out.push_back(named.name);
  return out;
}

}  // namespace

TEST_CASE("gradients of a report decoder agree with central differences") {
  const bool tied = GENERATE(true, false);
  const Index branch = GENERATE(0, 1);
  on_every_device([&](auto& device) {
    using Device = DeviceOf<decltype(device)>;
    models::ReportDecoder<double, Device> decoder(options_of(tied), Random(1));
    nn::Tokens<Device> tokens;
    tokens.assign(device, Ids{2, 4, 5, 2, 6, 6, 4, 2}, Offsets{0, 3, 7, 8});
    nn::Sequences<Device> contexts;
    contexts.assign(device, Offsets{0, 2, 3, 7});
    LayerGradient gradient(device);
    const auto& context = gradient.input("context", normal_values(7 * context_width, 1));
    const auto& hidden = gradient.output(8 * width);
    gradient.parameters(decoder);
    const typename models::ReportDecoder<double, Device>::Inputs in{
        .tokens = tokens,
        .context = context.value.view(7, context_width),
        .contexts = contexts,
        .branch = branch};
    return gradient.check([&] { decoder.forward(device, in, hidden.value.view(8, width)); },
                          [&] {
                            const auto d_context = context.gradient.view(7, context_width);
                            fill(device, d_context.data(), d_context.size(), 0.0);
                            decoder.backward(device, in, hidden.gradient.view(8, width), d_context);
                          },
                          6);
  });
}

TEST_CASE("a report decoder adds to the gradient by the context, which is optional") {
  Cpu device(1);
  models::ReportDecoder<double> decoder(options_of(), Random(1));
  const Parameters<double> parameters(device, decoder);
  nn::Tokens<> tokens;
  tokens.assign(device, Ids{2, 4, 5, 2}, Offsets{0, 3, 4});
  nn::Sequences<> contexts;
  contexts.assign(device, Offsets{0, 2, 3});
  const Values context = normal_values(3 * context_width, 1), d_hidden = normal_values(4 * width, 2);
  Values hidden(4 * width), d_context(context.size()), added(context.size(), 10.0);
  const models::ReportDecoder<double>::Inputs in{tokens, as_view(context, 3, context_width), contexts, 1};
  decoder.forward(device, in, as_view(hidden, 4, width));
  decoder.backward(device, in, as_view(d_hidden, 4, width), as_view(d_context, 3, context_width));
  const Values by_parameters = [&] {
    Values out;
    for (const auto& named : parameters.list())
      for (const double v : download_gradient(device, *named.parameter)) out.push_back(2 * v);
    return out;
  }();
  decoder.backward(device, in, as_view(d_hidden, 4, width), as_view(added, 3, context_width));
  for (double& v : added) v -= 10;
  CHECK(largest_difference(added, d_context) < 1e-13);
  CHECK(largest_difference(d_context, Values(d_context.size(), 0.0)) > 1e-3);
  decoder.backward(device, in, as_view(d_hidden, 4, width));
  Values three_passes;
  for (const auto& named : parameters.list())
    for (const double v : download_gradient(device, *named.parameter)) three_passes.push_back(v / 1.5);
  CHECK(largest_difference(three_passes, by_parameters) < 1e-12);
}

TEST_CASE("a forward pass of a report decoder that is refused leaves the one before it") {
  Cpu device(1);
  models::ReportDecoder<double> decoder(options_of(), Random(1));
  const Parameters<double> parameters(device, decoder);
  nn::Tokens<> tokens, longer;
  tokens.assign(device, Ids{2, 4, 5}, Offsets{0, 3});
  longer.assign(device, Ids{2, 4, 5, 3}, Offsets{0, 4});
  nn::Sequences<> contexts, none;
  contexts.assign(device, Offsets{0, 2});
  none.assign(device, Offsets{0, 0});
  const Values context = normal_values(2 * context_width, 1), d_hidden = normal_values(3 * width, 2);
  Values hidden(4 * width), memory(4 * width);
  const auto on_context = as_view(context, 2, context_width);
  const models::ReportDecoder<double>::Inputs in{tokens, on_context, contexts, 1};
  std::vector<Values> gradients;
  for (const bool is_refused : {false, true}) {
    decoder.forward(device, in, as_view(hidden, 3, width));
    const auto refused = [&](const models::ReportDecoder<double>::Inputs& other, Index columns) {
      return message_of<std::invalid_argument>(
          [&] { decoder.forward(device, other, as_view(memory, 4, columns)); });
    };
    if (is_refused) {
      CHECK(refused({longer, on_context, contexts, 2}, width) ==
            "DecoderBlock: there is no branch 2, there are 2");
      CHECK(refused({longer, as_view(context, 0, context_width), none, 1}, width) ==
            "CrossAttention: sequence 0 has 4 tokens but no context");
      CHECK(refused({longer, on_context, contexts, 0}, 7) ==
            "ReportDecoder: hidden is 4 x 7 but must be 4 x 8");
    }
    Values d_context(context.size(), 0.0);
    decoder.backward(device, in, as_view(d_hidden, 3, width), as_view(d_context, 2, context_width));
    gradients.push_back(d_context);
  }
  CHECK(same_bits(gradients[0], gradients[1]));
  CHECK(same_bits(memory, Values(memory.size())));
}

TEST_CASE("a later token never changes an earlier logit, an earlier one changes later ones") {
  const Index branch = GENERATE(0, 1);
  const bool tied = GENERATE(true, false);
  Setting<double> setting(options_of(tied));
  const auto before = setting(branch);
  for (const Index changed : {1, 4, 6}) {  // the second of three, the second of four, the last of four
    INFO("token " << changed);
    auto other = setting.ids;
    std::swap(other, setting.ids);
    setting.ids[static_cast<std::size_t>(changed)] = 0;
    const auto after = setting(branch);
    std::swap(other, setting.ids);
    for (Index t = 0; t < 8; ++t) {
      INFO("logits of token " << t);
      const bool is_later = t >= changed && (t < 3) == (changed < 3) && t < 7;
      CHECK(same_bits(rows_of(before.logits, vocabulary, t, t + 1),
                      rows_of(after.logits, vocabulary, t, t + 1)) == !is_later);
      CHECK(same_bits(rows_of(before.hidden, width, t, t + 1), rows_of(after.hidden, width, t, t + 1)) ==
            !is_later);
    }
  }
  // Nor does its being there at all. A product of other shape may round otherwise, in the last bits.
  setting.ids = {2, 4, 2, 6, 2};
  setting.offsets = {0, 2, 4, 5};
  const auto shorter = setting(branch);
  Values expected;
  for (const Index t : {0, 1, 3, 4, 7})
    for (const double v : rows_of(before.logits, vocabulary, t, t + 1)) expected.push_back(v);
  CHECK(largest_difference(shorter.logits, expected) < 1e-13);
}

TEST_CASE("texts of a decoder do not see each other, nor each other's contexts") {
  Setting<double> setting;
  const auto before = setting(1);
  setting.context[2 * context_width] += 1;  // the context of the second text
  const auto after = setting(1);
  CHECK(same_bits(rows_of(before.logits, vocabulary, 0, 3), rows_of(after.logits, vocabulary, 0, 3)));
  CHECK(same_bits(rows_of(before.logits, vocabulary, 7, 8), rows_of(after.logits, vocabulary, 7, 8)));
  for (Index t = 3; t < 7; ++t)
    CHECK(!same_bits(rows_of(before.logits, vocabulary, t, t + 1),
                     rows_of(after.logits, vocabulary, t, t + 1)));
  // A text alone is what it is among others.
  setting.ids = {2, 6, 6, 4};
  setting.offsets = {0, 4};
  setting.context_offsets = {0, 1};
  setting.context = rows_of(setting.context, context_width, 2, 3);
  CHECK(largest_difference(setting(1).logits, rows_of(after.logits, vocabulary, 3, 7)) < 1e-13);
}

TEST_CASE("branches of a decoder differ by their cross-attention alone") {
  Cpu device(1);
  models::ReportDecoderOptions one_branch = options_of();
  one_branch.branches = {"summary"};
  models::ReportDecoder<double> one(one_branch, Random(1)), two(options_of(), Random(1));
  const Parameters<double> of_one(device, one, "decoder"), of_two(device, two, "decoder");
  // Names of the second branch, and none else, come in addition.
  std::vector<std::string> expected;
  for (const std::string& name : names_of(of_one)) {
    expected.push_back(name);
    const std::string last = ".cross_attention.summary.output.bias";
    if (!name.ends_with(last)) continue;
    const std::string block = name.substr(0, name.size() - last.size());
    for (const char* parameter :
         {"query.weight", "query.bias", "key_value.weight", "key_value.bias", "output.weight", "output.bias"})
      expected.push_back(block + ".cross_attention.caption." + parameter);
  }
  CHECK(names_of(of_two) == expected);
  CHECK(expected.size() == names_of(of_one).size() + 12);
  CHECK(expected.front() == "decoder.embedding.word");
  CHECK(expected.back() == "decoder.output.bias");
  CHECK(of_two.size() - of_one.size() ==
        2 * (2 * (width * width + width) + 2 * width * context_width + 2 * width));
  CHECK(one.branches() == 1);
  CHECK(two.branches() == 2);

  // With equal cross-attention both give the same logits.
  Setting<double> setting;
  CHECK(largest_difference(setting(0).logits, setting(1).logits) > 0.01);
  std::map<std::string, Parameter<double>*> by_name;
  for (const auto& [name, parameter] : setting.parameters.list()) by_name[name] = parameter;
  const std::string from = "cross_attention.summary", to = "cross_attention.caption";
  for (const auto& [name, parameter] : by_name)
    if (const auto at = name.find(from); at != std::string::npos)
      upload_value(setting.device, *by_name.at(name.substr(0, at) + to + name.substr(at + from.size())),
                   download_value(setting.device, *parameter));
  CHECK(same_bits(setting(0).logits, setting(1).logits));
}

TEST_CASE("logits are products with the embedding or with a matrix of their own") {
  const bool tied = GENERATE(true, false);
  Setting<double> setting(options_of(tied));
  const auto result = setting();
  const auto& list = setting.parameters.list();
  const auto& matrix = tied ? list.front() : list[list.size() - 2];
  CHECK(matrix.name == (tied ? "embedding.word" : "output.weight"));
  CHECK(&setting.decoder.output_weight() == matrix.parameter);
  CHECK(&setting.decoder.output_bias() == list.back().parameter);
  CHECK(matrix.parameter->weight_decay() == WeightDecay::yes);
  CHECK(list.back().parameter->weight_decay() == WeightDecay::no);
  const Values w = download_value(setting.device, *matrix.parameter),
               b = download_value(setting.device, *list.back().parameter);
  Values expected;
  for (std::size_t t = 0; t < 8; ++t)
    for (std::size_t v = 0; v < vocabulary; ++v) {
      expected.push_back(b[v]);
      for (std::size_t i = 0; i < width; ++i)
        expected.back() += w[v * width + i] * result.hidden[t * width + i];
    }
  CHECK(largest_difference(result.logits, expected) < 1e-13);
}

TEST_CASE("the attention of a block's tokens to their contexts is an optional result") {
  Setting<double> setting(options_of(true, 3));
  const auto last = setting(1);
  CHECK(same_bits(setting(1, 2).weights, last.weights));
  const auto first = setting(1, 0);
  CHECK(largest_difference(first.weights, last.weights) > 1e-3);
  CHECK(same_bits(first.logits, last.logits));
  // That of the first block is the only block's of a decoder of one.
  Setting<double> single(options_of(true, 1));
  std::map<std::string, Parameter<double>*> by_name;
  for (const auto& [name, parameter] : setting.parameters.list()) by_name[name] = parameter;
  for (const auto& [name, parameter] : single.parameters.list())
    upload_value(single.device, *parameter, download_value(setting.device, *by_name.at(name)));
  CHECK(same_bits(single(1).weights, first.weights));
  // Rows sum to one over the context, with zeros behind it.
  const std::vector<Index> lengths{2, 2, 2, 1, 1, 1, 1, 4};
  for (std::size_t t = 0; t < 8; ++t) {
    double sum = 0;
    for (std::size_t j = 0; j < 4; ++j) {
      const double weight = last.weights[t * 4 + j];
      sum += weight;
      CHECK((weight > 0) == (static_cast<Index>(j) < lengths[t]));
    }
    CHECK(std::abs(sum - 1) < 1e-14);
  }
}

TEST_CASE("a report decoder in float is that in double, rounded") {
  Setting<double> exact;
  Setting<float> single;
  for (const Index branch : {0, 1}) {
    CHECK(largest_difference(exact(branch).logits, single(branch).logits) < 2e-4);
    CHECK(largest_difference(exact(branch).weights, single(branch).weights) < 1e-5);
  }
}

TEST_CASE("a report decoder names what does not fit") {
  const auto made = [](const models::ReportDecoderOptions& options) {
    return message_of<std::invalid_argument>([&] { models::ReportDecoder<double>(options, Random(1)); });
  };
  const auto with = [](auto change) {
    models::ReportDecoderOptions options = options_of();
    change(options);
    return options;
  };
  CHECK(made(options_of()) == "no error");
  CHECK(made(with([](auto& o) { o.depth = 0; })) == "ReportDecoder: depth must be at least 1, but is 0");
  CHECK(made(with([](auto& o) { o.vocabulary = 0; })) ==
        "Embedding: vocabulary must be at least 1, but is 0");
  CHECK(made(with([](auto& o) { o.positions = 0; })) == "Embedding: positions must be at least 1, but is 0");
  CHECK(made(with([](auto& o) { o.branches.clear(); })) == "DecoderBlock: there must be at least one branch");
  CHECK(made(with([](auto& o) { o.heads = 3; })) ==
        "MultiHeadAttention: the width 8 is not a multiple of the 3 heads");

  Setting<double> setting;
  const auto error = [&](Ids ids, Offsets offsets, Offsets context_offsets, Index branch = 0,
                         Index block = -1) {
    setting.ids = std::move(ids);
    setting.offsets = std::move(offsets);
    setting.context_offsets = std::move(context_offsets);
    return message_of<std::invalid_argument>([&] { setting(branch, block); });
  };
  CHECK(error({2, 3, 4}, {0, 2, 3}, {0, 1, 3}) == "no error");
  CHECK(error({2, 3, 4}, {0, 2, 2, 3}, {0, 1, 2, 3}) == "ReportDecoder: sequence 1 has no tokens");
  CHECK(error({2, 7, 4}, {0, 2, 3}, {0, 1, 3}) == "Embedding: id 7 of token 1 is outside of the table of 7");
  CHECK(error({2, 3, -1}, {0, 2, 3}, {0, 1, 3}) ==
        "Embedding: id -1 of token 2 is outside of the table of 7");
  CHECK(error({2, 3, 3, 3, 3, 3}, {0, 6}, {0, 1}) ==
        "Embedding: sequence 0 has 6 tokens but there are 5 positions");
  CHECK(error({2, 3, 4}, {0, 2, 3}, {0, 1, 1}) == "CrossAttention: sequence 1 has 1 tokens but no context");
  CHECK(error({2, 3, 4}, {0, 2, 3}, {0, 3}) == "CrossAttention: x has 2 sequences but the context has 1");
  CHECK(error({2, 3, 4}, {0, 2, 3}, {0, 1, 3}, 2) == "DecoderBlock: there is no branch 2, there are 2");
  CHECK(error({2, 3, 4}, {0, 2, 3}, {0, 1, 3}, 0, 2) == "ReportDecoder: there is no block 2, there are 2");
  CHECK(error({2, 3, 4}, {0, 2, 3}, {0, 1, 3}, 0, -2) == "ReportDecoder: there is no block -2, there are 2");

  nn::Tokens<> tokens, fewer;
  tokens.assign(setting.device, Ids{2, 3, 4}, Offsets{0, 2, 3});
  fewer.assign(setting.device, Ids{2, 3}, Offsets{0, 1, 2});
  nn::Sequences<> contexts;
  contexts.assign(setting.device, Offsets{0, 1, 3});
  Values memory(100);
  using Inputs = models::ReportDecoder<double>::Inputs;
  const auto context = as_view(std::as_const(setting.context), 3, context_width);
  const Inputs good{tokens, context, contexts, 1};
  const auto forward_error = [&](const Inputs& in, MatrixView<double> hidden, MatrixView<double> weights) {
    return message_of<std::invalid_argument>(
        [&] { setting.decoder.forward(setting.device, in, hidden, {.weights = weights}); });
  };
  CHECK(forward_error(good, as_view(memory, 3, 7), {}) == "ReportDecoder: hidden is 3 x 7 but must be 3 x 8");
  CHECK(forward_error(good, as_view(memory, 3, 8), as_view(memory, 3, 1)) ==
        "ReportDecoder: attention is 3 x 1 but must be 3 x 2");
  CHECK(forward_error({tokens, as_view(std::as_const(setting.context), 3, 5), contexts, 1},
                      as_view(memory, 3, 8),
                      {}) == "CrossAttention: the context has 5 columns but must have 6");
  CHECK(message_of<std::invalid_argument>([&] {
          setting.decoder.logits(setting.device, as_view(std::as_const(memory), 3, 7), as_view(memory, 3, 7));
        }) == "ReportDecoder: hidden has 7 columns but must have 8");
  CHECK(message_of<std::invalid_argument>([&] {
          setting.decoder.logits(setting.device, as_view(std::as_const(memory), 3, 8), as_view(memory, 3, 8));
        }) == "ReportDecoder: logits is 3 x 8 but must be 3 x 7");

  CHECK(forward_error(good, as_view(memory, 3, 8), {}) == "no error");
  const auto backward_error = [&](const Inputs& in, MatrixView<const double> d,
                                  MatrixView<double> d_context) {
    return message_of<std::invalid_argument>(
        [&] { setting.decoder.backward(setting.device, in, d, d_context); });
  };
  CHECK(backward_error(good, as_view(memory, 3, 7), {}) ==
        "ReportDecoder: d_hidden is 3 x 7 but must be 3 x 8");
  CHECK(backward_error(good, as_view(memory, 3, 8), as_view(memory, 2, 6)) ==
        "ReportDecoder: d_context is 2 x 6 but must be 3 x 6");
  CHECK(backward_error({fewer, context, contexts, 1}, as_view(memory, 2, 8), {}) ==
        "ReportDecoder: 2 tokens in backward but there were 3 in forward");
  CHECK(backward_error({tokens, context, contexts, 0}, as_view(memory, 3, 8), {}) ==
        "DecoderBlock: backward of branch 0 does not follow its forward");

  auto cache = setting.decoder.make_cache();
  setting.decoder.begin(setting.device, context, 0, cache);
  const Offsets rows{0, 1, 2};
  const auto step_error = [&](const Offsets& offsets) {
    nn::Tokens<> step;
    step.assign(setting.device, Ids(static_cast<std::size_t>(offsets.back()), 3), offsets);
    const Index count = step.count();
    return message_of<std::invalid_argument>([&] {
      setting.decoder.step(setting.device, {step, as_view(rows, count, 1), 0, step.sequences(), contexts},
                           cache, as_view(memory, count, 8));
    });
  };
  CHECK(step_error({0, 1, 2}) == "no error");
  CHECK(step_error({0, 1, 3}) == "ReportDecoder: a step takes one token of each text, but text 1 has 2");
  CHECK(step_error({0, 2, 2}) == "ReportDecoder: a step takes one token of each text, but text 1 has 0");
  models::ReportDecoder<double>::Cache none;
  const std::string no_cache = "ReportDecoder: the cache is for 0 blocks but there are 2";
  CHECK(message_of<std::invalid_argument>([&] { setting.decoder.begin(setting.device, context, 0, none); }) ==
        no_cache);
  CHECK(message_of<std::invalid_argument>([&] {
          setting.decoder.step(setting.device, {fewer, as_view(rows, 2, 1), 0, contexts, contexts}, none,
                               as_view(memory, 2, 8));
        }) == no_cache);
  // Five tokens are cached, as many as there are positions.
  const Offsets many(12, 0);
  CHECK(message_of<std::invalid_argument>([&] {
          setting.decoder.step(setting.device, {fewer, as_view(many, 2, 6), 0, contexts, contexts}, cache,
                               as_view(memory, 2, 8));
        }) == "Embedding: sequence 0 has 6 tokens but there are 5 positions");
  CHECK(message_of<std::invalid_argument>([&] {
          setting.decoder.step(setting.device, {fewer, as_view(rows, 2, 1), 0, contexts, contexts}, cache,
                               as_view(memory, 2, 7));
        }) == "ReportDecoder: hidden is 2 x 7 but must be 2 x 8");
  CHECK(message_of<std::invalid_argument>([&] {
          setting.decoder.step(setting.device, {fewer, as_view(rows, 2, 1), 0, contexts, contexts}, cache,
                               as_view(memory, 2, 8));
        }) == "CrossAttention: x has 2 rows but the sequences have 3 tokens");
}
