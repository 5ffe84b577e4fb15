#include "comparison.hpp"

#include "hopper_inputs.hpp"
#include "inputs.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <sstream>

namespace hardware {
namespace {

/// Whether element i of the card's record may stand where the emulation has `emulated`.
template <class T>
using Allowed = std::function<bool(std::size_t i, T card, T emulated)>;

bool begins_with(const std::string& name, const std::string& prefix) {
  return name.compare(0, prefix.size(), prefix) == 0;
}

/// Equal bits, or both NaN, whose bits are each device's own.
bool is_same(float x, float y) {
  return std::bit_cast<std::uint32_t>(x) == std::bit_cast<std::uint32_t>(y) ||
         (std::isnan(x) && std::isnan(y));
}
/// At most so many floats apart, with the same sign; infinities and NaN are the same.
bool is_near(float x, float y, double steps) {
  if (is_same(x, y)) return true;
  if (!std::isfinite(x) || !std::isfinite(y) || std::signbit(x) != std::signbit(y)) return false;
  const auto place = [](float v) { return std::bit_cast<std::int32_t>(std::fabs(v)); };
  return std::abs(place(x) - place(y)) <= steps;
}

// --- products

/// The sum of c and 16 products, on a card: all are brought to the exponent of the largest and cut there,
/// then summed, and the sum is cut to a float. Each cut loses less than 2^-23 of the largest.
bool is_sum(Type type, std::size_t i, float card, float emulated) {
  const auto pattern = static_cast<int>(i / 128), lane = static_cast<int>(i / 4 % 32);
  const int m = lane / 4 + 8 * (static_cast<int>(i) / 2 % 2), n = 2 * (lane % 4) + static_cast<int>(i) % 2;
  if (is_same(card, emulated)) return true;
  double largest = std::fabs(static_cast<double>(c_element(pattern, m, n)));
  for (int k = 0; k < 16; ++k)
    largest = std::max(largest, std::fabs(a_element(pattern, m, k, type) * b_element(pattern, k, n, type)));
  return std::fabs(static_cast<double>(card) - emulated) <= 18 * std::scalbn(largest, -23);
}

// --- functions

/// 2^-126 or a little more may as well be 0 where smaller results are.
bool is_near_or_flushed(float card, float emulated, double steps) {
  if (std::signbit(card) || is_near(card, emulated, steps)) return is_near(card, emulated, steps);
  return (card == 0 || emulated == 0) && std::max(card, emulated) <= 0x1p-126F * (1 + 0x1p-21F);
}

/// The CUDA programming guide's bounds on functions, in steps of float.
Allowed<float> function_rule(const std::string& name) {
  static const std::vector<float> in = function_input(), divisions = division_input();
  if (name == "fdividef")
    return [](std::size_t, float card, float emulated) { return is_near(card, emulated, 2); };
  if (name == "intrinsic_expf")
    return [](std::size_t i, float card, float emulated) {
      return is_near_or_flushed(card, emulated,
                                2 + std::floor(1.173 * std::fabs(static_cast<double>(in[i]))));
    };
  if (name == "intrinsic_logf")
    return [](std::size_t i, float card, float emulated) {
      return is_near(card, emulated, 3) ||
             (in[i] >= 0.5F && in[i] <= 2 &&
              std::fabs(static_cast<double>(card) - emulated) <= std::exp2(-21.41));
    };
  if (name == "exp_minus_one")  // a polynomial near 0, elsewhere exp_below less 1
    return [](std::size_t i, float card, float emulated) {
      if (std::fabs(in[i]) < 0x1p-6F || !std::isfinite(emulated)) return is_same(card, emulated);
      return std::fabs(card - static_cast<double>(emulated)) <= 0x1p-22 * (1 + std::fabs(emulated));
    };
  const double steps = name == "log2f" || name == "logf" ? 1 : 2;
  if (name == "exp_below")
    return [=](std::size_t, float card, float emulated) { return is_near_or_flushed(card, emulated, steps); };
  return [=](std::size_t, float card, float emulated) { return is_near(card, emulated, steps); };
}

Allowed<float> float_rule(const std::string& name) {
  if (begins_with(name, "mma/") || name == "wgmma/bf16" || name == "wgmma/f16") {
    const Type type = name.ends_with("/f16") ? Type::f16 : Type::bf16;
    return [=](std::size_t i, float card, float emulated) { return is_sum(type, i, card, emulated); };
  }
  if (name == "ex2/approx_ftz")
    return [](std::size_t, float card, float emulated) { return is_near_or_flushed(card, emulated, 2); };
  if (begins_with(name, "function/")) return function_rule(name.substr(name.find('/') + 1));
  return [](std::size_t, float card, float emulated) { return is_same(card, emulated); };
}

/// All but tokens and bits of an mbarrier.
template <class T>
Allowed<T> integer_rule(const std::string& name) {
  if (name == "mbarrier/steps")
    return [](std::size_t i, T card, T emulated) { return i % barrier_columns >= 6 || card == emulated; };
  return [](std::size_t, T card, T emulated) { return card == emulated; };
}

template <class T>
void compare(const std::string& name, const Records& card, const Records& emulated, const Allowed<T>& allowed,
             std::vector<std::string>& out) {
  const std::vector<T> x = card.get<T>(name), y = emulated.get<T>(name);
  std::ostringstream message;
  message.precision(9);
  if (x.size() != y.size()) {
    message << name << " has " << x.size() << " elements on the card, " << y.size() << " emulated";
    out.push_back(message.str());
    return;
  }
  std::size_t wrong = 0, first = 0;
  for (std::size_t i = x.size(); i-- > 0;) {
    if (allowed(i, x[i], y[i])) continue;
    ++wrong;
    first = i;
  }
  if (wrong == 0) return;
  message << name << ": " << wrong << " of " << x.size() << " elements differ, the first is element " << first
          << ": " << +x[first] << " on the card, " << +y[first] << " emulated";
  out.push_back(message.str());
}

}  // namespace

bool is_compared(const std::string& name) {
  return !begins_with(name, "card/");
}

std::vector<std::string> differences(const Records& card, const Records& emulated) {
  std::vector<std::string> out;
  for (const std::string& name : card.names()) {
    if (begins_with(name, "error/"))
      out.push_back("the card did not finish group " + name.substr(6) + ": " + card.text(name));
    else if (!emulated.has(name))
      out.push_back("the emulation has no record " + name);
  }
  for (const std::string& name : emulated.names()) {
    if (!card.has(name)) {
      out.push_back("the card has no record " + name);
      continue;
    }
    if (!is_compared(name)) continue;
    const std::string type = emulated.type(name);
    if (type == "f32") compare<float>(name, card, emulated, float_rule(name), out);
    if (type == "u8") compare<std::uint8_t>(name, card, emulated, integer_rule<std::uint8_t>(name), out);
    if (type == "u16") compare<std::uint16_t>(name, card, emulated, integer_rule<std::uint16_t>(name), out);
    if (type == "u32") compare<std::uint32_t>(name, card, emulated, integer_rule<std::uint32_t>(name), out);
  }
  return out;
}

}  // namespace hardware
