#include "losses_cuda/support/info_nce_by_cublas.cuh"

#include "losses_cuda/support/device_benchmark.hpp"
#include "support/pair_cases.hpp"

#include <vlp/cuda/core/scalar.cuh>

namespace vlp::benchmarks {
namespace {

/// Scores as they are stored between cuBLAS and what follows, in the variant of the row.
template <class Stored>
void add_cases(const char* stored) {
  for (const Index batch : {4096, 32768}) {
    Case shape = info_nce_case(batch, 512);
    shape.variant = stored;
    add<InfoNceByCublas<BFloat16, Stored>>(shape);
  }
}

const AtStart cases([] {
  add_cases<float>("scores stored as float32");
  add_cases<BFloat16>("scores stored as bfloat16");
  add_quick<InfoNceByCublas<BFloat16, float>>(info_nce_case(150, 40));
});

}  // namespace
}  // namespace vlp::benchmarks
