/// \file
/// Names of files in the folder of a hybrid run, for the programs that write and read it.
#pragma once

namespace vlp::pretrain {

/// The folder of the first stage within that of the run, and the checkpoint that the second one reads.
inline constexpr const char* stage_1_folder = "stage1";
inline constexpr const char* summariser_file = "stage1/best.safetensors";

}  // namespace vlp::pretrain
