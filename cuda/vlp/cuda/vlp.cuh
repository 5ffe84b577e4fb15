/// \file
/// Everything for CUDA devices.
#pragma once

#include <vlp/cuda/core/cuda.cuh>
#include <vlp/cuda/core/memory.cuh>
#include <vlp/cuda/core/scalar.cuh>
#include <vlp/cuda/losses/distillation.cuh>
#include <vlp/cuda/losses/info_nce.cuh>
#include <vlp/cuda/losses/local_alignment.cuh>
#include <vlp/cuda/losses/multi_scale.cuh>
#include <vlp/cuda/losses/perturbation_sensitivity.cuh>
#include <vlp/cuda/losses/token_alignment.cuh>
#include <vlp/cuda/losses/token_cross_entropy.cuh>
