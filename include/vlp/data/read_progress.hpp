/// \file
/// How far reading has come, for a progress bar.
#pragma once

#include <vlp/core/scalar.hpp>

#include <functional>
#include <string_view>

namespace vlp::data {

/// Function that is called while files are read with their kind ("reports", "images"), how many of them have
/// been read, and how many there are. Calls come from one thread at a time, not always the same one, and
/// `done` never falls for one kind. May be empty.
using ReadProgress = std::function<void(std::string_view kind, Index done, Index total)>;

}  // namespace vlp::data
