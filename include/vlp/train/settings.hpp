/// \file
/// Settings: named fields of option structs, as they stand in config.json and in checkpoints.
///
/// An option struct has a free function `for_each_setting(options, visit)` beside it, which calls
/// `visit(name, field, help)` for each field that decides the result of a run. That one list serves the
/// command line, configuration files and the check that a run goes on with the settings it began with. A
/// field is a number, a bool, a string, or of a type with `to_text(value)` and `from_text(text, value)`, such
/// as an enumeration with names (core/enum_names.hpp).
#pragma once

#include <nlohmann/json.hpp>

#include <vlp/core/enum_names.hpp>
#include <vlp/core/errors.hpp>
#include <vlp/core/text_encoding.hpp>
#include <vlp/io/json.hpp>

#include <cstddef>
#include <cstdint>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace vlp::train {

/// Settings by name, in the order of their list.
using Settings = nlohmann::ordered_json;

namespace detail {
template <class Field>
inline constexpr bool is_plain = std::is_arithmetic_v<Field> || std::is_same_v<Field, std::string>;

/// A value as messages show it: at most some 60 bytes of a number or text, and only the type of the others.
inline std::string shown(const Settings& value) {
  if (value.is_structured()) return std::string(io::json_kind(value.type()));
  std::string text = value.dump(-1, ' ', false, Settings::error_handler_t::replace);
  constexpr std::size_t most = 60;
  if (text.size() <= most) return text;
  std::size_t end = most;
  while ((static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;  // not within a character
  return text.substr(0, end) + "...";
}

/// Sets a number, bool or text to a value of JSON, if that is of its type and within its range.
template <class Field>
bool read_plain(const Settings& value, Field& field) {
  if constexpr (std::is_same_v<Field, std::string>) {
    if (!value.is_string()) return false;
    field = value.get<std::string>();
  } else if constexpr (std::is_same_v<Field, bool>) {
    if (!value.is_boolean()) return false;
    field = value.get<bool>();
  } else if constexpr (std::is_floating_point_v<Field>) {
    if (!value.is_number()) return false;
    field = value.get<Field>();
  } else {
    // Not from a number with a fraction or an exponent, whose conversion could overflow.
    const bool natural = value.is_number_unsigned();
    if (!value.is_number_integer() || !(natural ? std::in_range<Field>(value.get<std::uint64_t>())
                                                : std::in_range<Field>(value.get<std::int64_t>())))
      return false;
    field = value.get<Field>();
  }
  return true;
}

template <class Field>
constexpr const char* kind_of() {
  return std::is_same_v<Field, bool>       ? "true or false"
         : std::is_floating_point_v<Field> ? "a number"
         : std::is_arithmetic_v<Field>     ? "a whole number"
                                           : "text";
}
}  // namespace detail

/// The settings of an option struct. Throws std::invalid_argument, naming the setting, for text that is not
/// UTF-8, which JSON cannot hold.
template <class Options>
[[nodiscard]] Settings settings_of(const Options& options) {
  Settings settings;
  for_each_setting(options, [&]<class Field>(const char* name, const Field& field, const char*) {
    if constexpr (std::is_same_v<Field, std::string>)
      require(vlp::detail::first_foreign_byte(field) == field.size(), name,
              " must be text in UTF-8, but is '", field, "'");
    if constexpr (detail::is_plain<Field>)
      settings[name] = field;
    else
      settings[name] = to_text(field);
  });
  return settings;
}

/// Reads settings from JSON: an object of numbers, texts, true and false. Throws std::runtime_error, naming
/// `source`, for anything else, and for more than 1 MB.
[[nodiscard]] inline Settings parse_settings(std::string_view text, const std::string& source) {
  const Settings settings = io::parse_json<Settings>(text, source, {.max_bytes = 1'000'000});
  ensure(settings.is_object(), source, ": the settings of a run are an object, but this is ",
         detail::shown(settings));
  for (const auto& [name, value] : settings.items())
    ensure(!value.is_structured(), source, ": the setting ", detail::shown(name), " is ",
           detail::shown(value));
  return settings;
}

/// Reads settings into an option struct. Throws std::runtime_error, naming `source`, for one that is absent,
/// of another type, not a value of its list, or of a name that the struct does not have.
template <class Options>
void read_settings(const Settings& settings, const std::string& source, Options& options) {
  std::set<std::string> known;
  for_each_setting(options, [&]<class Field>(const char* name, Field& field, const char*) {
    known.insert(name);
    ensure(settings.is_object() && settings.contains(name), source, ": the setting '", name, "' is absent");
    const Settings& value = settings.at(name);
    if constexpr (detail::is_plain<Field>) {
      ensure(detail::read_plain(value, field), source, ": the setting '", name, "' must be ",
             detail::kind_of<Field>(), ", but is ", detail::shown(value));
    } else {
      ensure(value.is_string(), source, ": the setting '", name, "' must be text, but is ",
             detail::shown(value));
      try {
        from_text(value.template get<std::string>(), field);
      } catch (const std::invalid_argument& error) {
        ensure(false, source, ": the setting '", name, "' ", error.what());
      }
    }
  });
  for (const auto& [name, value] : settings.items())
    ensure(known.count(name) != 0, source, ": the setting ", detail::shown(name),
           " is unknown to this version");
}

/// Throws std::invalid_argument that names the first setting in which `given` differs from `saved`.
inline void require_same_settings(const Settings& given, const Settings& saved, const std::string& source) {
  const auto at = [](const Settings& settings, const std::string& name) {
    return settings.contains(name) ? detail::shown(settings.at(name)) : "(absent)";
  };
  const auto compare = [&](const std::string& name) {
    require(given.contains(name) && saved.contains(name) && given.at(name) == saved.at(name), source,
            " was made with ", name, " ", at(saved, name), ", not ", at(given, name),
            "; go on with the same settings, or start in another folder");
  };
  for (const auto& [name, value] : given.items()) compare(name);
  for (const auto& [name, value] : saved.items()) compare(name);
}

}  // namespace vlp::train
