// The emulation beside what cards did, as hardware_probe.cu wrote it down.
#include "hardware/comparison.hpp"
#include "hardware/emulated.hpp"
#include "hardware/records.hpp"
#include "support/catch.hpp"
#include "support/temporary_folder.hpp"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using hardware::Records;

std::string bytes_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

const Records& emulated() {
  static const Records out(hardware::emulated_file());
  return out;
}

/// The element of a record that is damaged below.
std::size_t damaged_element(const std::string& name) {
  return emulated().bytes(name).size() / hardware::element_size(emulated().type(name)) / 2;
}

}  // namespace

TEST_CASE("the emulation does what cards did") {
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(VLP_HARDWARE_FILES)) {
    const std::string name = entry.path().filename().string();
    if (name.rfind("hardware_", 0) != 0 || entry.path().extension() != ".bin") continue;
    ++files;
    const Records card(bytes_of(entry.path()));
    INFO(name << ": " << card.text("card/name"));
    const hardware::Comparison found = hardware::compare(card, emulated());
    for (const std::string& difference : found.differences) {
      INFO(difference);
      CHECK(false);
    }
    std::string skipped;
    for (const std::string& what : found.left_out) skipped += "\n" + what;
    if (!skipped.empty()) WARN(name << ": skipped:" << skipped);
  }
  if (files == 0)
    WARN("skipped: no card was probed yet (tests/cuda_emulation/hardware_probe.cu writes hardware_CARD.bin)");
}

TEST_CASE("the emulation agrees with a file of its own") {
  const vlp::test::TemporaryFolder folder;
  const auto path = folder / "hardware_emulated.bin";
  std::ofstream(path, std::ios::binary) << hardware::emulated_file();
  const Records card(bytes_of(path));
  CHECK(card.names() == emulated().names());
  CHECK(card.names().size() > 80);
  const hardware::Comparison found = hardware::compare(card, emulated());
  CHECK(found.differences.empty());
  CHECK(found.left_out.empty());
}

TEST_CASE("one damaged element of any record is reported") {
  std::string file = hardware::first_line;
  std::vector<std::string> damaged;
  for (const std::string& name : emulated().names()) {
    std::string bytes = emulated().bytes(name);
    const std::string& type = emulated().type(name);
    if (hardware::is_compared(name)) {
      const std::size_t size = hardware::element_size(type);
      bytes[(damaged_element(name) + 1) * size - 1] ^= '\x80';  // a float's sign, an integer's highest bit
      damaged.push_back(name);
    }
    file += hardware::serialized(name, type, bytes);
  }
  const std::vector<std::string> found = hardware::compare(Records(file), emulated()).differences;
  REQUIRE(found.size() == damaged.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    CHECK_THAT(found[i], ContainsSubstring(damaged[i] + ": 1 of "));
    CHECK_THAT(found[i],
               ContainsSubstring("is element " + std::to_string(damaged_element(damaged[i])) + ":"));
  }
}

TEST_CASE("records that are missing or of errors are left out, those that only a card has are reported") {
  const std::string whole = hardware::emulated_file();
  const auto compared = [](const std::string& file) { return hardware::compare(Records(file), emulated()); };
  const hardware::Comparison nothing = compared(hardware::first_line);
  CHECK(nothing.differences.empty());
  REQUIRE(nothing.left_out.size() == emulated().names().size());
  CHECK(nothing.left_out[0] == "the card has no record card/compute_capability");
  const hardware::Comparison failed =
      compared(whole + hardware::serialized("error/ex2", std::string("gone")));
  CHECK(failed.differences.empty());
  CHECK(failed.left_out == std::vector<std::string>{"the card did not finish group ex2: gone"});
  const hardware::Comparison more = compared(whole + hardware::serialized("new/one", std::string("?")));
  CHECK(more.differences == std::vector<std::string>{"the emulation has no record new/one"});
  CHECK(more.left_out.empty());
}

TEST_CASE("a damaged file of the probe is refused") {
  const std::string good = hardware::first_line +
                           hardware::serialized("a", std::vector<std::uint16_t>{1, 2}) +
                           hardware::serialized("b", std::vector<float>{3});
  CHECK(Records(good).get<std::uint16_t>("a") == std::vector<std::uint16_t>{1, 2});
  CHECK(Records(good).get<float>("b") == std::vector<float>{3});
  CHECK_THROWS_WITH(Records(good).get<float>("a"), ContainsSubstring("elements of type u16"));
  CHECK_THROWS_WITH(Records(good).get<float>("c"), ContainsSubstring("no record c"));
  const auto refused = [](const std::string& file) {
    try {
      const Records records(file);
      return false;
    } catch (const std::runtime_error&) {
      return true;
    }
  };
  CHECK(refused(""));
  CHECK(refused("vlp hardware probe 2\n"));
  CHECK(refused(good + good.substr(hardware::first_line.size())));   // names twice
  CHECK(refused(hardware::first_line + "a u16 1\n...b u16 0\n\n"));  // no newline behind the elements
  CHECK(refused(hardware::first_line + "a u17 1\n  \n"));
  CHECK(refused(hardware::first_line + "a u16 -1\n\n"));
  for (std::size_t size = hardware::first_line.size() + 1; size < good.size(); ++size) {
    if (size == hardware::first_line.size() + std::string("a u16 2\n....\n").size()) continue;
    INFO(size);
    CHECK(refused(good.substr(0, size)));
  }
}
