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

// --- functions

/// 2^-126 or a little more may as well be 0 where smaller results are.
bool is_near_or_flushed(float card, float emulated, double steps) {
  if (std::signbit(card) || is_near(card, emulated, steps)) return is_near(card, emulated, steps);
  return (card == 0 || emulated == 0) && std::max(card, emulated) <= 0x1p-126F * (1 + 0x1p-21F);
}

/// The CUDA programming guide's bounds on functions, in steps of float, since cards have tables where the
/// host has its library. An H200 was at most so many steps from the host: ex2.approx, exp2f, exp_below and
/// __logf 2, expf, log2f, logf, rsqrtf and __fdividef 1, __expf 1 + 1.12 |x|. From the exact power ex2.approx
/// was 1.91 units in the last place away and 2^-22.80 of it, for 65,536 inputs.
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
  if (name == "exp2_minus_one")  // a polynomial near 0, elsewhere exp2_below less 1
    return [](std::size_t i, float card, float emulated) {
      if (std::fabs(in[i]) < 0x1p-6F * 1.44269504F || !std::isfinite(emulated))
        return is_same(card, emulated);
      return std::fabs(card - static_cast<double>(emulated)) <= 0x1p-22 * (1 + std::fabs(emulated));
    };
  const double steps = name == "log2f" || name == "logf" ? 1 : 2;
  if (name == "exp_below")
    return [=](std::size_t, float card, float emulated) { return is_near_or_flushed(card, emulated, steps); };
  return [=](std::size_t, float card, float emulated) { return is_near(card, emulated, steps); };
}

Allowed<float> float_rule(const std::string& name) {
  if (name == "ex2/approx_ftz")
    return [](std::size_t, float card, float emulated) { return is_near_or_flushed(card, emulated, 2); };
  if (begins_with(name, "function/")) return function_rule(name.substr(name.find('/') + 1));
  // Products of matrices and conversions: to the bit, those of NaN too.
  return [](std::size_t, float card, float emulated) {
    return std::bit_cast<std::uint32_t>(card) == std::bit_cast<std::uint32_t>(emulated);
  };
}

/// All but tokens and bits of an mbarrier.
template <class T>
Allowed<T> integer_rule(const std::string& name) {
  if (name == "mbarrier/steps")
    return [](std::size_t i, T card, T emulated) { return i % barrier_columns >= 6 || card == emulated; };
  return [](std::size_t, T card, T emulated) { return card == emulated; };
}

template <class T>
void compare_record(const std::string& name, const Records& card, const Records& emulated,
                    const Allowed<T>& allowed, std::vector<std::string>& out) {
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

Comparison compare(const Records& card, const Records& emulated) {
  Comparison out;
  for (const std::string& name : card.names()) {
    if (begins_with(name, "error/"))
      out.left_out.push_back("the card did not finish group " + name.substr(6) + ": " + card.text(name));
    else if (!emulated.has(name))
      out.differences.push_back("the emulation has no record " + name);
  }
  for (const std::string& name : emulated.names()) {
    if (!card.has(name)) {
      out.left_out.push_back("the card has no record " + name);
      continue;
    }
    if (!is_compared(name)) continue;
    const auto record = [&]<class T>(const Allowed<T>& allowed) {
      compare_record<T>(name, card, emulated, allowed, out.differences);
    };
    const std::string type = emulated.type(name);
    if (type == "f32") record(float_rule(name));
    if (type == "u8") record(integer_rule<std::uint8_t>(name));
    if (type == "u16") record(integer_rule<std::uint16_t>(name));
    if (type == "u32") record(integer_rule<std::uint32_t>(name));
    if (type == "text") record(integer_rule<char>(name));
  }
  return out;
}

}  // namespace hardware
