/// \file
/// Options of a command line, for CLI11, made of the fields that they set.
#pragma once

#include <CLI/CLI.hpp>

#include <vlp/core/enum_names.hpp>
#include <vlp/core/errors.hpp>

#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

namespace vlp::cli {

/// Calls a check of settings, whose messages begin with a setting's name, and makes that a flag.
template <class Check>
void check_flags(Check&& check) {
  try {
    check();
  } catch (const std::invalid_argument& error) {
    throw std::invalid_argument(std::string("--") + error.what());
  }
}

/// Makes an option of a field: a flag of a bool, and names of an enum (enum_names).
template <class Field>
void add_option(CLI::App& app, const char* name, Field& field, const char* help) {
  const std::string flag = std::string("--") + name;
  if constexpr (std::is_same_v<Field, bool>) {
    app.add_flag(flag, field, help);
  } else if constexpr (std::is_arithmetic_v<Field> || std::is_same_v<Field, std::string>) {
    auto* option = app.add_option(flag, field, help)->capture_default_str();
    if constexpr (std::is_unsigned_v<Field>)  // a negative number would wrap around
      option->check(CLI::Validator(
          [](const std::string& text) {
            return text.starts_with('-') ? "must not be negative, but is " + text : std::string();
          },
          ""));
  } else {
    app.add_option_function<std::string>(
           flag,
           [&field, name](const std::string& text) {
             check_flags([&] {
               try {
                 from_text(text, field);
               } catch (const std::invalid_argument& error) {
                 throw std::invalid_argument(concat(name, " ", error.what()));
               }
             });
           },
           help)
        ->type_name("TEXT")
        ->default_str(to_text(field));
  }
}

}  // namespace vlp::cli
