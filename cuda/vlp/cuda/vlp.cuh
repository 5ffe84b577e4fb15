/// \file
/// Everything for CUDA devices.
#pragma once

#include <vlp/cuda/core/cuda.cuh>
#include <vlp/cuda/core/memory.cuh>
#include <vlp/cuda/core/scalar.cuh>
#include <vlp/cuda/core/transfer.cuh>
#include <vlp/cuda/losses/all.cuh>
