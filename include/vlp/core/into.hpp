/// \file
/// The choice between overwriting a destination and adding to it.
#pragma once

namespace vlp {

/// Says whether a result replaces what its destination held or is added to it.
enum class Into { overwrite, add };

}  // namespace vlp
