/// \file
/// Names of the values of enumerations, for command lines, configuration files and messages.
#pragma once

#include <vlp/core/errors.hpp>

#include <cstddef>
#include <string>
#include <string_view>
#include <type_traits>

namespace vlp {

/// The names of an enumeration's values, which count from 0, in their order: an array of std::string_view.
/// Specialised beside each enumeration that users set by name.
template <class Enum>
inline constexpr auto enum_names = nullptr;

/// An enumeration whose values have names.
template <class Enum>
concept NamedEnum =
    std::is_enum_v<Enum> && !std::is_same_v<std::remove_cv_t<decltype(enum_names<Enum>)>, std::nullptr_t>;

/// The name of a value.
template <NamedEnum Enum>
[[nodiscard]] std::string to_text(Enum value) {
  return std::string(enum_names<Enum>[static_cast<std::size_t>(value)]);
}

/// Sets `value` to the value that is called `text`. Throws std::invalid_argument, with all names, where none
/// is: "must be one of frontal, lateral, both, but is 'side'".
template <NamedEnum Enum>
void from_text(std::string_view text, Enum& value) {
  std::string names;
  for (std::size_t i = 0; i < enum_names<Enum>.size(); ++i) {
    if (enum_names<Enum>[i] == text) {
      value = static_cast<Enum>(i);
      return;
    }
    names.append(names.empty() ? "" : ", ").append(enum_names<Enum>[i]);
  }
  require(false, "must be one of ", names, ", but is '", text, "'");
}

}  // namespace vlp
