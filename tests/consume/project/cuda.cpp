#include <vlp/cuda/core/cuda.cuh>
#include <vlp/losses/info_nce.hpp>

#include <iostream>
#include <stdexcept>
#include <string_view>

// A program that may find no device says so, and what it wanted one for.
int main() {
  vlp::InfoNceInterface<float>::check_options({});
  try {
    vlp::Cuda device;
    device.synchronize();
    std::cout << device.multiprocessors() << " multiprocessors\n";
  } catch (const std::runtime_error& error) {
    std::cout << error.what() << '\n';
    return std::string_view(error.what()).starts_with("CUDA: looking for a device: ") ? 0 : 1;
  }
}
