/// \file
/// Comparison of what a card did with what the emulation does.
#pragma once

#include "records.hpp"

#include <string>
#include <vector>

namespace hardware {

/// What a comparison found, one sentence each.
struct Comparison {
  /// Records in which the card differs by more than the emulation promises (the first element that differs
  /// and how many do), and records that only the card has.
  std::vector<std::string> differences;
  /// What the card's file does not say: groups that it did not finish, and records that it has not.
  std::vector<std::string> left_out;
};
Comparison compare(const Records& card, const Records& emulated);

/// Whether the records of this name are compared: those about the card itself are not.
bool is_compared(const std::string& name);

}  // namespace hardware
