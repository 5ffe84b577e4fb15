// Texts that are written a token at a time: what the decoder makes of whole texts.
#include "support/catch.hpp"
#include "support/layer_gradient.hpp"
#include "support/messages.hpp"

#include <vlp/models/report_decoder.hpp>
#include <vlp/models/report_decoding.hpp>
#include <vlp/nn/sequences.hpp>
#include <vlp/nn/tokens.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

using namespace vlp;
using namespace vlp::test;
using Ids = std::vector<std::int32_t>;
using Offsets = std::vector<Index>;

namespace {

constexpr Index vocabulary = 7, positions = 5, width = 8, context_width = 6;
// The third context is empty: no text may have it.
const Offsets context_offsets{0, 2, 3, 3, 7};
constexpr Index context_rows = 7, longest_context = 4;

struct Text {
  Index context;
  Ids ids;
};

/// One call of next(), and the texts after it.
struct Step {
  Offsets parents;
  Ids tokens;
  std::vector<Text> texts;
};

Step make_step(const std::vector<Text>& before, Offsets parents, Ids tokens) {
  Step step{std::move(parents), std::move(tokens), {}};
  for (std::size_t i = 0; i < step.parents.size(); ++i) {
    Text text =
        before.empty() ? Text{step.parents[i], {}} : before[static_cast<std::size_t>(step.parents[i])];
    text.ids.push_back(step.tokens[i]);
    step.texts.push_back(std::move(text));
  }
  return step;
}

/// As many steps as there are positions, of texts that fork, end and change places at random.
std::vector<Step> random_steps(std::uint32_t stream) {
  Random random(9, stream);
  constexpr Index usable[]{0, 1, 3};
  std::vector<Step> out;
  std::vector<Text> texts;
  for (Index t = 0; t < positions; ++t) {
    const std::size_t count = 1 + random.below(7);
    Offsets parents;
    Ids tokens;
    for (std::size_t i = 0; i < count; ++i) {
      parents.push_back(t == 0 ? usable[random.below(3)]
                               : static_cast<Index>(random.below(static_cast<std::uint32_t>(texts.size()))));
      tokens.push_back(static_cast<std::int32_t>(random.below(vocabulary)));
    }
    out.push_back(make_step(texts, std::move(parents), std::move(tokens)));
    texts = out.back().texts;
  }
  return out;
}

/// A decoder of random weights, and contexts.
template <class Scalar, class Device>
struct Setting {
  Device& device;
  models::ReportDecoder<Scalar, Device> decoder;
  Parameters<Scalar, Device> parameters;
  std::vector<Scalar> context = normal_values<Scalar>(context_rows * context_width, 1);
  ArrayOn<Scalar, Device> device_context;
  nn::Sequences<Device> contexts;

  explicit Setting(Device& on)
      : device(on),
        decoder({.vocabulary = vocabulary,
                 .positions = positions,
                 .width = width,
                 .depth = 2,
                 .heads = 2,
                 .context_width = context_width,
                 .branches = {"summary", "caption"}},
                Random(1)),
        parameters(device, decoder),
        device_context(device, context) {
    contexts.assign(device, context_offsets);
    Random random(5);
    for (const auto& [name, parameter] : parameters.list()) {
      std::vector<Scalar> value = download_value(device, *parameter);
      for (Scalar& v : value) v += static_cast<Scalar>(0.3f * random.normal());
      upload_value(device, *parameter, value);
    }
  }

  void begin(models::ReportDecoding<Scalar, Device>& decoding, Index branch) {
    decoding.begin(device, device_context.view(context_rows, context_width), contexts, branch);
  }

  struct Result {
    std::vector<Scalar> logits, weights;
  };
  /// The next step.
  Result next(models::ReportDecoding<Scalar, Device>& decoding, const Step& step, Index block = -1) {
    const auto count = static_cast<Index>(step.texts.size());
    const ArrayOn<Scalar, Device> weights(device, count * longest_context);
    const auto logits = decoding.next(device, step.parents, step.tokens,
                                      {.weights = weights.view(count, longest_context), .block = block});
    CHECK(logits.rows() == count);
    CHECK(logits.cols() == vocabulary);
    return {downloaded(device, logits.data(), logits.size()), weights.host()};
  }
  /// The same of the last tokens of whole texts, each with a copy of its context.
  Result of_whole_texts(const std::vector<Text>& texts, Index branch, Index block = -1) {
    Ids ids;
    Offsets offsets{0}, copies_offsets{0};
    std::vector<Scalar> copies;
    for (const Text& text : texts) {
      ids.insert(ids.end(), text.ids.begin(), text.ids.end());
      offsets.push_back(static_cast<Index>(ids.size()));
      const auto c = static_cast<std::size_t>(text.context);
      copies.insert(copies.end(), context.begin() + context_offsets[c] * context_width,
                    context.begin() + context_offsets[c + 1] * context_width);
      copies_offsets.push_back(static_cast<Index>(copies.size()) / context_width);
    }
    nn::Tokens<Device> tokens;
    tokens.assign(device, ids, offsets);
    nn::Sequences<Device> of_texts;
    of_texts.assign(device, copies_offsets);
    const auto count = static_cast<Index>(ids.size()), longest = of_texts.longest().value;
    const ArrayOn<Scalar, Device> copied(device, copies), hidden(device, count * width),
        logits(device, count * vocabulary), weights(device, count * longest);
    decoder.forward(device,
                    {tokens, copied.view(copied.size() / context_width, context_width), of_texts, branch},
                    hidden.view(count, width), {.weights = weights.view(count, longest), .block = block});
    decoder.logits(device, hidden.view(count, width), logits.view(count, vocabulary));
    Result out;
    const std::vector<Scalar> all_logits = logits.host(), all_weights = weights.host();
    for (std::size_t s = 1; s < offsets.size(); ++s) {
      for (Index v = 0; v < vocabulary; ++v)
        out.logits.push_back(all_logits[static_cast<std::size_t>((offsets[s] - 1) * vocabulary + v)]);
      for (Index j = 0; j < longest_context; ++j)
        out.weights.push_back(
            j < longest ? all_weights[static_cast<std::size_t>((offsets[s] - 1) * longest + j)] : 0);
    }
    return out;
  }
};

template <class Scalar>
constexpr double tolerance = std::is_same_v<Scalar, double> ? 1e-12 : 1e-4;

/// Runs steps and compares each with whole texts. Returns all logits.
template <class Scalar, class Device>
std::vector<Scalar> check_steps(Setting<Scalar, Device>& setting,
                                models::ReportDecoding<Scalar, Device>& decoding,
                                const std::vector<Step>& steps, Index branch, Index block = -1) {
  setting.begin(decoding, branch);
  CHECK(decoding.texts() == 0);
  CHECK(decoding.length() == 0);
  CHECK(decoding.cached_tokens() == 0);
  std::vector<Scalar> all;
  Index written = 0;
  for (const Step& step : steps) {
    const auto cached = setting.next(decoding, step, block);
    const auto whole = setting.of_whole_texts(step.texts, branch, block);
    INFO("tokens of each text: " << step.texts[0].ids.size() << ", branch " << branch);
    CHECK(largest_difference(cached.logits, whole.logits) < tolerance<Scalar>);
    CHECK(largest_difference(cached.weights, whole.weights) < tolerance<Scalar>);
    CHECK(decoding.texts() == static_cast<Index>(step.texts.size()));
    CHECK(decoding.length() == static_cast<Index>(step.texts[0].ids.size()));
    written += static_cast<Index>(step.texts.size());
    CHECK(decoding.cached_tokens() == written);
    all.insert(all.end(), cached.logits.begin(), cached.logits.end());
  }
  return all;
}

static_assert(models::TokenModel<models::ReportDecoding<double, Guarded>, double, Guarded>);

}  // namespace

TEMPLATE_TEST_CASE("logits of texts written a token at a time are those of whole texts", "", float, double) {
  const Index branch = GENERATE(0, 1);
  // Contexts in any order and twice; a text that forks three times; texts that end; places that change; one
  // text alone; a token twice; all positions.
  std::vector<Step> steps{make_step({}, {3, 0, 3, 1, 0}, {2, 2, 2, 2, 4})};
  const auto then = [&](Offsets parents, Ids tokens) {
    steps.push_back(make_step(steps.back().texts, std::move(parents), std::move(tokens)));
  };
  then({3, 0, 0, 2, 0, 1}, {5, 3, 6, 5, 5, 0});
  then({5, 4, 3, 2, 1, 0}, {1, 1, 1, 1, 1, 1});
  then({2}, {3});
  then({0, 0}, {6, 4});
  on_every_device([&](auto& device) {
    Setting<TestType, DeviceOf<decltype(device)>> setting(device);
    models::ReportDecoding<TestType, DeviceOf<decltype(device)>> decoding(setting.decoder);
    return check_steps(setting, decoding, steps, branch);
  });
}

TEST_CASE("texts that fork, end and change places at random are written as whole texts are") {
  for (const int threads : {1, 3})
    on_every_device(
        [&](auto& device) {
          Setting<double, DeviceOf<decltype(device)>> setting(device);
          // One object for all: each begins with what is left of the last.
          models::ReportDecoding<double, DeviceOf<decltype(device)>> decoding(setting.decoder);
          std::vector<double> all;
          for (std::uint32_t stream = 0; stream < 8; ++stream)
            for (const double v : check_steps(setting, decoding, random_steps(stream), stream % 2,
                                              static_cast<Index>(stream) % 3 - 1))
              all.push_back(v);
          return all;
        },
        threads);
}

TEST_CASE("the results of written texts do not depend on the number of threads") {
  std::vector<std::vector<float>> results;
  for (const int threads : {1, 4}) {
    Cpu device(threads);
    Setting<float, Cpu> setting(device);
    models::ReportDecoding<float> decoding(setting.decoder);
    results.push_back(check_steps(setting, decoding, random_steps(3), 1));
  }
  CHECK(same_bits(results[0], results[1]));
}

TEST_CASE("passes of the decoder and other texts between the steps change nothing") {
  Cpu device(1);
  Setting<double, Cpu> setting(device);
  models::ReportDecoding<double> alone(setting.decoder), first(setting.decoder), second(setting.decoder);
  const std::vector<Step> steps = random_steps(1), other = random_steps(2);
  const std::vector<double> expected =
      check_steps(setting, alone, steps, 0);  // whole texts between the steps
  setting.begin(first, 0);
  setting.begin(second, 1);
  setting.device_context.assign(std::vector<double>(context_rows * context_width));  // no longer needed
  setting.contexts.assign(device, Offsets{0, 1});
  std::vector<double> interleaved;
  for (std::size_t t = 0; t < steps.size(); ++t) {
    const auto logits = first.next(device, steps[t].parents, steps[t].tokens);
    second.next(device, other[t].parents, other[t].tokens);
    interleaved.insert(interleaved.end(), logits.data(), logits.data() + logits.size());
  }
  CHECK(same_bits(interleaved, expected));
}

TEST_CASE("a token that was written is not computed again") {
  // With other weights of self-attention and embedding, keys and values of earlier tokens remain.
  Cpu device(1);
  Setting<double, Cpu> setting(device);
  const std::vector<Step> steps = random_steps(1);
  models::ReportDecoding<double> decoding(setting.decoder);
  setting.begin(decoding, 0);
  setting.next(decoding, steps[0]);
  setting.next(decoding, steps[1]);
  for (const auto& [name, parameter] : setting.parameters.list())
    if (name == "embedding.word") {
      // The embedding of every token but those that the third step writes.
      std::vector<double> value = download_value(device, *parameter);
      for (Index id = 0; id < vocabulary; ++id)
        if (std::find(steps[2].tokens.begin(), steps[2].tokens.end(), id) == steps[2].tokens.end())
          for (Index i = 0; i < width; ++i)
            value[static_cast<std::size_t>(id * width + i)] = std::numeric_limits<double>::quiet_NaN();
      upload_value(device, *parameter, value);
    }
  const auto result = setting.next(decoding, steps[2]);
  // The tied output matrix is NaN for the same tokens, and the logits of the others are numbers.
  Index numbers = 0;
  for (const double logit : result.logits) numbers += std::isnan(logit) ? 0 : 1;
  CHECK(numbers > 0);
  CHECK(largest_difference(result.weights, result.weights) == 0);  // no NaN
}

TEST_CASE("texts that are written a token at a time refuse what does not fit, and stay as they were") {
  Cpu device(1);
  Setting<double, Cpu> setting(device);
  models::ReportDecoding<double> decoding(setting.decoder);
  CHECK(decoding.vocabulary() == vocabulary);
  CHECK(decoding.positions() == positions);
  std::vector<double> memory(200);
  const auto error = [&](const Offsets& parents, const Ids& tokens,
                         const models::ContextAttention<double>& attention = {}) {
    return message_of<std::invalid_argument>([&] { decoding.next(device, parents, tokens, attention); });
  };
  CHECK(error({0}, {2}) == "ReportDecoding: there are no contexts yet; call begin before next");
  const auto begin_error = [&](Index rows, Index columns, Index branch) {
    return message_of<std::invalid_argument>([&] {
      decoding.begin(device, as_view(std::as_const(memory), rows, columns), setting.contexts, branch);
    });
  };
  CHECK(begin_error(7, 5, 0) == "ReportDecoding: the context has 5 columns but must have 6");
  CHECK(begin_error(6, 6, 0) == "ReportDecoding: the context has 6 rows but the sequences have 7 tokens");
  CHECK(begin_error(7, 6, 2) == "ReportDecoding: there is no branch 2, there are 2");
  CHECK(begin_error(7, 6, -1) == "ReportDecoding: there is no branch -1, there are 2");
  CHECK(error({0}, {2}) == "ReportDecoding: there are no contexts yet; call begin before next");

  const auto refuse = [&](const std::string& what, Index texts) {
    const std::string last = std::to_string(texts);
    CHECK(error({}, {}) ==
          "ReportDecoding: there are 0 parents and 0 tokens; there must be as many, and at least one");
    CHECK(error({0, 1}, {2}) ==
          "ReportDecoding: there are 2 parents and 1 tokens; there must be as many, and at least one");
    CHECK(error({0, texts}, {2, 2}) ==
          "ReportDecoding: " + what + " " + last + " of text 1 is not one of the " + last);
    CHECK(error({0, -1}, {2, 2}) == "ReportDecoding: " + what + " -1 of text 1 is not one of the " + last);
    CHECK(error({0, 0, 0}, {2, 2, 7}) == "ReportDecoding: token 7 of text 2 is not in the vocabulary of 7");
    CHECK(error({0}, {-1}) == "ReportDecoding: token -1 of text 0 is not in the vocabulary of 7");
    CHECK(error({0}, {2}, {.weights = as_view(memory, 1, 3)}) ==
          "ReportDecoding: attention is 1 x 3 but must be 1 x 4");
    CHECK(error({0}, {2}, {.block = 2}) == "ReportDecoder: there is no block 2, there are 2");
    CHECK(begin_error(7, 5, 0) == "ReportDecoding: the context has 5 columns but must have 6");
  };
  setting.begin(decoding, 1);
  std::vector<Text> texts;
  for (const Step& step : random_steps(4)) {
    refuse(texts.empty() ? "context" : "parent", texts.empty() ? 4 : static_cast<Index>(texts.size()));
    if (texts.empty()) CHECK(error({0, 2}, {2, 2}) == "ReportDecoding: context 2 of text 1 is empty");
    texts = step.texts;
    const auto cached = setting.next(decoding, step);
    CHECK(largest_difference(cached.logits, setting.of_whole_texts(texts, 1).logits) < 1e-12);
  }
  CHECK(error({0}, {2}) == "ReportDecoding: the texts have 5 tokens, as many as the decoder has positions");
  setting.begin(decoding, 0);
  CHECK(error({0}, {2}) == "no error");
  CHECK(decoding.length() == 1);
}
