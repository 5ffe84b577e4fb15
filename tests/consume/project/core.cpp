#include <vlp/core/cpu.hpp>
#include <vlp/core/matmul.hpp>
#include <vlp/core/random.hpp>

int main() {
  vlp::Cpu cpu;
  vlp::Random random(1);
  const float two = 2;
  float four = 0;
  const vlp::MatrixView<const float> a(&two, {1, 1});
  vlp::matmul(cpu, a, vlp::Op::none, a, vlp::Op::none, vlp::MatrixView<float>(&four, {1, 1}));
  const bool eigen = vlp::matmul_backend().starts_with("Eigen");
  return cpu.threads() >= 1 && random.uniform() < 1 && four == 4 && eigen != EXPECT_BLAS ? 0 : 1;
}
