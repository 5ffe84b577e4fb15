/// \file
/// Runs a loss on its golden vectors. Written once over the Loss concept.
#pragma once

#include "support/catch.hpp"
#include "support/gradients.hpp"
#include "support/loss_case.hpp"

#include <vlp/core/enum_names.hpp>
#include <vlp/io/npy.hpp>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <type_traits>

namespace vlp::test {

inline std::filesystem::path golden_folder() {
  const char* other = std::getenv("VLP_GOLDEN_DIR");
  return other != nullptr ? other : VLP_TEST_GOLDEN_DIR;
}

inline Array read_array(const std::filesystem::path& file) {
  const io::NpyArray array = io::read_npy(file);
  return {array.shape, array.as<double>()};
}

template <NamedEnum Enum>
void parse_option(const std::string& text, Enum& option) {
  from_text(text, option);
}

template <class T>
requires std::is_arithmetic_v<T>
void parse_option(const std::string& text, T& option) {
  std::istringstream in(text);
  in >> option;
  ensure(!in.fail() && (in >> std::ws).eof(), "no number: ", text);
}

/// Options from the `name value` lines of a file. A name that the loss does not know is an error.
template <Loss L>
typename L::Options read_options(const std::filesystem::path& file) {
  std::ifstream in(file);
  ensure(in.is_open(), file.string(), " cannot be read");
  typename L::Options options{};
  for (std::string name, value; in >> name >> value;) {
    bool known = false;
    L::for_each_option(options, [&](std::string_view option_name, auto& option) {
      if (option_name != name) return;
      known = true;
      parse_option(value, option);
    });
    ensure(known, file.string(), ": ", L::name, " has no option ", name);
  }
  return options;
}

/// Compares loss and gradients with one golden case. Inputs of 16 bits are not those of the golden vectors:
/// what these would be for them the loss in double says, which is held to the golden vectors itself.
template <Loss L, Loss Reference>
void check_golden_case(const std::filesystem::path& folder) {
  constexpr double tolerance = accuracy_of_loss<L>();
  INFO(folder.string());
  Arrays arrays;
  std::set<std::string> gradient_files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().stem().string();
    if (entry.path().extension() != ".npy") continue;
    arrays[name] = read_array(entry.path());
    if (name.starts_with("d_")) gradient_files.insert(name);
  }
  const typename L::Options options = read_options<L>(folder / "options.txt");
  if constexpr (sizeof(typename L::Scalar) == 2) {
    check_against<L, Reference>(arrays, options);
    return;
  }
  LossCase<L> loss_case(arrays);
  const double loss = static_cast<double>(loss_case.run(options));
  CAPTURE(loss);
  CHECK(relative_error(number(loss), arrays.at("loss")) <= tolerance);
  for (const auto& [name, gradient] : loss_case.gradient_values()) {
    INFO("gradient of " << name);
    REQUIRE(gradient_files.erase("d_" + name) == 1);
    CHECK(relative_error(gradient, arrays.at("d_" + name)) <= tolerance);
  }
  CHECK(gradient_files.empty());
}

/// Compares a loss with all cases of its folder.
template <Loss L, Loss Reference = ReferenceOf<L>>
void check_golden() {
  const std::filesystem::path folder = golden_folder() / L::name;
  INFO(folder.string());
  REQUIRE(std::filesystem::is_directory(folder));
  int cases = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (!entry.is_directory()) continue;
    check_golden_case<L, Reference>(entry.path());
    ++cases;
  }
  CHECK(cases > 0);
}

}  // namespace vlp::test
