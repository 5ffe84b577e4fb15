/// \file
/// The form in which a product takes an operand, on any device.
#pragma once

namespace vlp {

/// Says whether an operand is used as it is or transposed.
enum class Op { none, transpose };

}  // namespace vlp
