#include <vlp/core/cpu.hpp>
#include <vlp/core/matmul.hpp>
#include <vlp/core/random.hpp>

int main() {
  vlp::Cpu cpu;
  vlp::Random random(1);
  return cpu.threads() >= 1 && random.uniform() < 1 ? 0 : 1;
}
