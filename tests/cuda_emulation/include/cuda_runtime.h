/// \file
/// Stands in for the CUDA toolkit's header of the same name: CUDA C++ that nvcc compiles also compiles,
/// unchanged, with an ordinary compiler and runs on the host, where the sanitizers see it. Has what vlp uses,
/// with the toolkit's names.
#pragma once

#define VLP_CUDA_EMULATION 1

#include "cuda_emulation/block.hpp"
#include "cuda_emulation/intrinsics.hpp"
#include "cuda_emulation/language.hpp"
#include "cuda_emulation/runtime.hpp"
#include "cuda_emulation/tensor.hpp"
#include "cuda_emulation/warp.hpp"
#include "cuda_emulation/wgmma.hpp"
