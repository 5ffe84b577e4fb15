/// \file
/// What the emulation and the model of sm_90 (hopper.hpp) say to the hardware probe.
#pragma once

#include "records.hpp"

#include <string>
#include <vector>

namespace hardware {

/// The file that the probe would write were the emulation a card. The tokens and bits of an mbarrier, which
/// no document explains, are 0.
std::string emulated_file();

}  // namespace hardware
