// A program that needs no library except Eigen.
#include <vlp/core/matmul.hpp>
#include <vlp/interop/eigen.hpp>
#include <vlp/losses/info_nce.hpp>

int main() {
  vlp::Cpu cpu;
  const vlp::MatrixXf two{{2.0f}};
  vlp::MatrixXf four{{0.0f}};
  vlp::matmul(cpu, vlp::view(two), vlp::Op::none, vlp::view(two), vlp::Op::none, vlp::view(four));
  const bool eigen = vlp::matmul_backend().starts_with("Eigen");

  const float log_scale = 0;
  float loss = 1;
  vlp::InfoNce<float> info_nce;  // of one pair, which has no negatives
  info_nce.forward(cpu, {.image = vlp::view(two), .text = vlp::view(two), .log_scale = &log_scale},
                   {.loss = &loss});
  return cpu.threads() >= 1 && four(0, 0) == 4 && eigen != EXPECT_BLAS && loss == 0 ? 0 : 1;
}
