/// \file
/// Numbers on a command line, for CLI11, which reads "-1" as 2^64 - 1 and "010" as eight.
#pragma once

#include <CLI/CLI.hpp>

#include <charconv>
#include <limits>
#include <string>
#include <system_error>

namespace vlp::cli {

/// For Option::transform: takes decimal digits only, of a number from `low` to the largest that `Number`
/// holds.
template <class Number>
[[nodiscard]] CLI::Validator whole_number(Number low = 0) {
  return CLI::Validator(
      [low](std::string& text) {
        Number value = 0;
        const char* end = text.data() + text.size();
        const auto [stop, error] = std::from_chars(text.data(), end, value);
        if (error != std::errc() || stop != end || value < low)
          return "must be a whole number from " + std::to_string(low) + " to " +
                 std::to_string(std::numeric_limits<Number>::max()) + ", but is '" + text + "'";
        text = std::to_string(value);
        return std::string();
      },
      "");
}

}  // namespace vlp::cli
