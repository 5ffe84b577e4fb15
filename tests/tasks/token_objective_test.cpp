// The objective of a decoder against loops over all logits: tiles, parts, gradients.
#include "support/catch.hpp"
#include "support/messages.hpp"

#include <vlp/core/parameters.hpp>
#include <vlp/core/random.hpp>
#include <vlp/tasks/detail/token_objective.hpp>

#include <array>
#include <cmath>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

using namespace vlp;

namespace {

using Objective = tasks::detail::TokenObjective<double, Cpu>;

std::vector<double> normal_values(Index count, std::uint32_t stream) {
  Random random(3, stream);
  std::vector<double> out;
  for (Index i = 0; i < count; ++i) out.push_back(static_cast<double>(random.normal()));
  return out;
}

/// A decoder whose output matrix and bias are random.
struct Output {
  Output(Cpu& device, Index vocabulary, std::uint32_t stream)
      : decoder({.vocabulary = vocabulary, .positions = 4, .width = 4, .depth = 1, .heads = 1}, Random(1)),
        parameters(device, decoder) {
    Random random(5, stream);
    for (Index i = 0; i < parameters.values().size(); ++i)
      parameters.values()[i] = static_cast<double>(random.normal());
  }
  models::ReportDecoder<double> decoder;
  Parameters<double> parameters;
};

/// Logits, divided by a temperature, to log probabilities of a row.
std::vector<double> log_probabilities(Output& output, const double* hidden, double temperature) {
  auto& decoder = output.decoder;
  std::vector<double> z;
  double sum = 0;
  for (Index v = 0; v < decoder.options().vocabulary; ++v) {
    double logit = decoder.output_bias().value()[v];
    for (Index d = 0; d < 4; ++d) logit += hidden[d] * decoder.output_weight().matrix()(v, d);
    z.push_back(logit / temperature);
    sum += std::exp(z.back());
  }
  for (double& x : z) x -= std::log(sum);
  return z;
}

}  // namespace

TEST_CASE("a token objective is that of all logits at once, however many tiles and parts there are") {
  // Tiles of 20 rows, of 16, and of all.
  const auto [vocabulary, rows, tile_logits] =
      GENERATE(std::array<Index, 3>{50, 45, 1000}, std::array<Index, 3>{30, 33, 1},
               std::array<Index, 3>{7, 5, Index(1) << 20});
  const double cross_entropy = GENERATE(0.0, 0.7), distillation = GENERATE(0.0, 0.6);
  CAPTURE(vocabulary, rows, cross_entropy, distillation);
  Cpu device(1);
  Output student(device, vocabulary, 1), teacher(device, vocabulary, 2);
  const auto s_hidden = normal_values(rows * 4, 1), t_hidden = normal_values(rows * 4, 2);
  std::vector<std::int64_t> targets;
  for (Index i = 0; i < rows; ++i) targets.push_back(i * 977 % vocabulary);
  const double t = 1.5, n = static_cast<double>(rows);

  double l_ce = 0, l_d = 0;
  std::vector<double> d_hidden(s_hidden.size()), d_weight(static_cast<std::size_t>(vocabulary * 4)),
      d_bias(static_cast<std::size_t>(vocabulary));
  for (Index i = 0; i < rows; ++i) {
    const double* const h = &s_hidden[static_cast<std::size_t>(i * 4)];
    const auto log_p = log_probabilities(student, h, 1), log_q = log_probabilities(student, h, t),
               log_w = log_probabilities(teacher, &t_hidden[static_cast<std::size_t>(i * 4)], t);
    const auto target = static_cast<std::size_t>(targets[static_cast<std::size_t>(i)]);
    l_ce -= log_p[target] / n;
    for (std::size_t v = 0; v < log_p.size(); ++v) {
      l_d += t * t * std::exp(log_w[v]) * (log_w[v] - log_q[v]) / n;
      const double d = (cross_entropy * (std::exp(log_p[v]) - (v == target ? 1 : 0)) +
                        distillation * t * (std::exp(log_q[v]) - std::exp(log_w[v]))) /
                       n;
      d_bias[v] += d;
      for (std::size_t c = 0; c < 4; ++c) {
        d_weight[v * 4 + c] += d * h[c];
        d_hidden[static_cast<std::size_t>(i) * 4 + c] +=
            d * student.decoder.output_weight().matrix()(static_cast<Index>(v), static_cast<Index>(c));
      }
    }
  }

  Objective objective({.cross_entropy = cross_entropy,
                       .distillation = distillation,
                       .temperature = t,
                       .tile_logits = tile_logits});
  CHECK(objective.distils() == (distillation > 0));
  const auto part = [](const std::vector<double>& all, Index first, Index count) {
    return MatrixView<const double>(all.data() + first * 4, {count, 4});
  };
  for (const Index cut : {Index(0), Index(2), rows}) {
    for (const bool with_output : {true, false}) {
      CAPTURE(cut, with_output);
      std::vector<double> d(s_hidden.size(), -1);
      fill(device, student.parameters.gradients().data(), student.parameters.gradients().size(), 0.25);
      for (const bool backward : {false, true}) {
        objective.begin(device, rows);
        for (const auto& [first, count] : {std::pair{Index(0), cut}, std::pair{cut, rows - cut}}) {
          const Objective::Features of_student{&student.decoder, part(s_hidden, first, count)};
          const Objective::Features of_teacher =
              distillation > 0 ? Objective::Features{&teacher.decoder, part(t_hidden, first, count)}
                               : Objective::Features{};
          const std::span<const std::int64_t> wanted(targets.data() + first, static_cast<std::size_t>(count));
          if (backward)
            objective.forward_backward(device, of_student, wanted, of_teacher,
                                       {d.data() + first * 4, {count, 4}}, with_output);
          else
            objective.forward(device, of_student, wanted, of_teacher);
        }
        const auto values = objective.values(device);
        CHECK(std::abs(values.cross_entropy - (cross_entropy > 0 ? l_ce : 0)) < 1e-12 * (1 + l_ce));
        CHECK(std::abs(values.distillation - (distillation > 0 ? l_d : 0)) < 1e-12 * (1 + l_d));
      }
      double error = 0;
      const auto compare = [&](double got, double expected) {
        const double off = std::abs(got - expected);
        error = off <= error ? error : off;
      };
      for (std::size_t i = 0; i < d.size(); ++i) compare(d[i], d_hidden[i]);
      for (std::size_t i = 0; i < d_weight.size(); ++i)
        compare(student.decoder.output_weight().gradient()[static_cast<Index>(i)],
                0.25 + (with_output ? d_weight[i] : 0));
      for (std::size_t i = 0; i < d_bias.size(); ++i)
        compare(student.decoder.output_bias().gradient()[static_cast<Index>(i)],
                0.25 + (with_output ? d_bias[i] : 0));
      CHECK(error < 1e-13);
    }
  }
}

TEST_CASE("a token objective refuses parts that are not those of its batch, or without their teacher") {
  Cpu device(1);
  Output student(device, 7, 1), teacher(device, 7, 2);
  const auto hidden = normal_values(5 * 4, 1);
  const std::vector<std::int64_t> targets(5, 3);
  const auto message = [&](Index tokens, Index rows_of_teacher) {
    Objective objective({.distillation = 1});
    objective.begin(device, tokens);
    return test::message_of<std::invalid_argument>([&] {
      objective.forward(device, {&student.decoder, {hidden.data(), {5, 4}}}, targets,
                        {&teacher.decoder, {hidden.data(), {rows_of_teacher, 4}}});
    });
  };
  CHECK(message(5, 5) == "no error");
  CHECK(message(4, 5) == "TokenObjective: 5 tokens of a batch of 4");
  CHECK(message(5, 4) == "TokenObjective: 4 tokens of the teacher for 5");
}
