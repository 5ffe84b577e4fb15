/// \file
/// Options as text, and the other way.
#pragma once

#include <vlp/core/enum_names.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/numbers.hpp>

#include <charconv>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>

namespace vlp::bindings {

/// The value of an option as text that read_option reads back.
template <class Option>
std::string option_text(const Option& option) {
  if constexpr (NamedEnum<Option>)
    return to_text(option);
  else if constexpr (std::is_same_v<Option, bool>)
    return option ? "true" : "false";
  else if constexpr (std::is_integral_v<Option>)
    return std::to_string(option);
  else
    return number_text(option);
}

/// Sets an option from text. Throws std::invalid_argument, "must be a whole number, but is '1.5'" say.
template <class Option>
void read_option(std::string_view text, Option& option) {
  if constexpr (NamedEnum<Option>) {
    from_text(text, option);
  } else if constexpr (std::is_same_v<Option, bool>) {
    require(text == "true" || text == "false", "must be true or false, but is '", text, "'");
    option = text == "true";
  } else {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), option);
    constexpr std::string_view kind = std::is_floating_point_v<Option> ? "a number"
                                      : std::is_signed_v<Option>       ? "a whole number"
                                                                       : "a whole number from 0 on";
    require(error == std::errc() && end == text.data() + text.size(), "must be ", kind, ", but is '", text,
            "'");
  }
}

/// The kind of an option, as vlp_ops_describe() says it.
template <class Option>
constexpr std::string_view option_kind() {
  if constexpr (std::is_enum_v<Option>)
    return "choice";
  else if constexpr (std::is_same_v<Option, bool>)
    return "bool";
  else
    return std::is_integral_v<Option> ? "integer" : "number";
}

}  // namespace vlp::bindings
