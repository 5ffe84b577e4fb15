/// \file
/// One way to report a mistake: a sentence that names the argument and the sizes on both sides. Names in it
/// may come from a stranger's file, so every message passes `printable`.
#pragma once

#include <vlp/core/printable.hpp>

#include <locale>
#include <sstream>
#include <stdexcept>
#include <string>

namespace vlp {

/// Joins its arguments, streamed with `<<`, into one string: `concat("image has ", 3, " rows")`. Numbers are
/// written alike whatever the program's locale, for files of numbers are made so too.
template <class... Parts>
[[nodiscard]] std::string concat(const Parts&... parts) {
  std::ostringstream out;
  out.imbue(std::locale::classic());
  (out << ... << parts);
  return out.str();
}

/// Throws std::invalid_argument with the joined `message` unless `condition` holds. It is meant for mistakes
/// of the caller: shapes, options, flags. The message is only put together on failure.
template <class... Parts>
void require(bool condition, const Parts&... message) {
  if (!condition) [[unlikely]]
    throw std::invalid_argument(printable(concat(message...)));
}

/// Throws std::invalid_argument, naming `name`, unless `value` is a number from `low` to `high`.
template <class Number>
void require_range(const char* name, Number value, Number low, Number high) {
  require(value >= low && value <= high, name, " must be from ", low, " to ", high, ", but is ", value);
}

/// Throws std::runtime_error with the joined `message` unless `condition` holds. It is meant for faults of
/// the input: files, their contents, non-finite numbers.
template <class... Parts>
void ensure(bool condition, const Parts&... message) {
  if (!condition) [[unlikely]]
    throw std::runtime_error(printable(concat(message...)));
}

}  // namespace vlp
