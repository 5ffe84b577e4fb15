/// \file
/// Settings: named fields of option structs, as they stand in config.json and in checkpoints.
///
/// An option struct has a free function `for_each_setting(options, visit)` beside it, which calls
/// `visit(name, field, help)` for each field that decides the result of a run. That one list serves the
/// command line, configuration files and the check that a run goes on with the settings it began with. A
/// field is a number, a string, or of a type with `to_text(value)` and `from_text(text, value)`, such as an
/// enumeration with names (core/enum_names.hpp).
#pragma once

#include <nlohmann/json.hpp>

#include <vlp/core/enum_names.hpp>
#include <vlp/core/errors.hpp>

#include <stdexcept>
#include <string>
#include <type_traits>

namespace vlp::train {

/// Settings by name, in the order of their list.
using Settings = nlohmann::ordered_json;

namespace detail {
template <class Field>
inline constexpr bool is_plain = std::is_arithmetic_v<Field> || std::is_same_v<Field, std::string>;
}  // namespace detail

/// The settings of an option struct.
template <class Options>
[[nodiscard]] Settings settings_of(const Options& options) {
  Settings settings;
  for_each_setting(options, [&]<class Field>(const char* name, const Field& field, const char*) {
    if constexpr (detail::is_plain<Field>)
      settings[name] = field;
    else
      settings[name] = to_text(field);
  });
  return settings;
}

/// Reads settings into an option struct. Throws std::runtime_error, naming `source`, for one that is absent,
/// of another type or not a value of its list.
template <class Options>
void read_settings(const Settings& settings, const std::string& source, Options& options) {
  for_each_setting(options, [&]<class Field>(const char* name, Field& field, const char*) {
    ensure(settings.is_object() && settings.contains(name), source, ": the setting '", name, "' is absent");
    try {
      if constexpr (detail::is_plain<Field>)
        settings.at(name).get_to(field);
      else
        from_text(settings.at(name).template get<std::string>(), field);
    } catch (const nlohmann::json::exception&) {
      ensure(false, source, ": the setting '", name, "' is ", settings.at(name).dump());
    } catch (const std::invalid_argument& error) {
      ensure(false, source, ": the setting '", name, "' ", error.what());
    }
  });
}

/// Throws std::invalid_argument that names the first setting in which `given` differs from `saved`.
inline void require_same_settings(const Settings& given, const Settings& saved, const std::string& source) {
  for (const auto& [name, value] : given.items())
    require(saved.contains(name) && saved[name] == value, source, " was made with ", name, " ",
            saved.contains(name) ? saved[name].dump() : "(absent)", ", not ", value.dump(),
            "; go on with the same settings, or start in another folder");
}

}  // namespace vlp::train
