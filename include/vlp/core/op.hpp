/// \file
/// How a product takes its operands, on any device.
#pragma once

namespace vlp {

/// Whether an operand is used as it is or transposed.
enum class Op { none, transpose };

}  // namespace vlp
