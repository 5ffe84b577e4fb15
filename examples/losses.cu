// The smallest call of a loss on a CUDA device: bfloat16 embeddings there, the loss and its gradients back.
#include <vlp/core/random.hpp>
#include <vlp/cuda/losses/info_nce.cuh>

#include <cmath>
#include <cstdint>
#include <exception>
#include <iostream>
#include <vector>

namespace {

template <class T>
void copy(T* to, const T* from, vlp::Index count, cudaMemcpyKind kind) {
  vlp::cuda::check(cudaMemcpy(to, from, static_cast<std::size_t>(count) * sizeof(T), kind), "copying");
}

/// Random embeddings [pairs, features] in device memory.
vlp::cuda::Buffer<vlp::BFloat16> random_rows(vlp::Index pairs, vlp::Index features, std::uint32_t stream) {
  vlp::Random random(1, stream);
  std::vector<vlp::BFloat16> values;
  for (vlp::Index i = 0; i < pairs * features; ++i) values.emplace_back(static_cast<float>(random.normal()));
  vlp::cuda::Buffer<vlp::BFloat16> out(pairs * features);
  copy(out.data(), values.data(), out.size(), cudaMemcpyHostToDevice);
  return out;
}

void run() {
  const vlp::Index pairs = 256, features = 64;
  const auto image = random_rows(pairs, features, 1), text = random_rows(pairs, features, 2);
  vlp::cuda::Buffer<vlp::BFloat16> d_image(pairs * features), d_text(pairs * features);
  vlp::cuda::Buffer<float> numbers(
      3);  // log scale, loss, and the gradient of the log scale: on the device too
  const float log_scale = std::log(1 / 0.07f);
  copy(numbers.data(), &log_scale, 1, cudaMemcpyHostToDevice);

  vlp::Cuda device;                             // a stream, cuBLAS and scratch memory
  vlp::InfoNce<vlp::BFloat16, vlp::Cuda> loss;  // any other loss is called the same way
  const auto rows = [&](const auto& memory) { return vlp::MatrixView(memory.data(), {pairs, features}); };
  const decltype(loss)::Inputs inputs{rows(image), rows(text), numbers.data()};
  loss.forward(device, inputs, {numbers.data() + 1});
  loss.backward(device, inputs, 1.0f, {rows(d_image), rows(d_text), numbers.data() + 2});
  device.synchronize();

  float value = 0, d_log_scale = 0;
  copy(&value, numbers.data() + 1, 1, cudaMemcpyDeviceToHost);
  copy(&d_log_scale, numbers.data() + 2, 1, cudaMemcpyDeviceToHost);
  std::cout << "loss " << value << "\nd loss / d log scale " << d_log_scale << '\n';
}

}  // namespace

int main() {
  try {
    run();
  } catch (const std::exception& error) {
    std::cerr << "losses_cuda: " << error.what() << '\n';
    return 2;
  }
}
