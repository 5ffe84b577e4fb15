/// \file
/// All operations of layers (nn/ops/operations.hpp) on the CPU.
#pragma once

#include <vlp/core/cpu.hpp>
#include <vlp/core/matmul.hpp>
#include <vlp/nn/cpu/attention.hpp>
#include <vlp/nn/cpu/gather.hpp>
#include <vlp/nn/cpu/gelu.hpp>
#include <vlp/nn/cpu/im2col.hpp>
#include <vlp/nn/cpu/layer_norm.hpp>
#include <vlp/nn/cpu/rows.hpp>
#include <vlp/nn/ops/operations.hpp>

namespace vlp {

static_assert(nn::Operations<Cpu, float> && nn::Operations<Cpu, double>);

}  // namespace vlp
