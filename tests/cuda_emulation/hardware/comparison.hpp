/// \file
/// Comparison of what a card did with what the emulation does.
#pragma once

#include "records.hpp"

#include <string>
#include <vector>

namespace hardware {

/// Every record in which the card differs by more than the emulation promises, one sentence each: the first
/// element that differs and how many do. Records that only one of them has differ too.
std::vector<std::string> differences(const Records& card, const Records& emulated);

/// Whether the records of this name are compared: those about the card itself are not.
bool is_compared(const std::string& name);

}  // namespace hardware
