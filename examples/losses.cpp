// The smallest call of a loss: Eigen matrices in, the loss and its gradients out.
#include <vlp/interop/eigen.hpp>
#include <vlp/losses/info_nce.hpp>

#include <cmath>
#include <cstdlib>
#include <iostream>

int main() {
  const int pairs = 4, features = 8;
  std::srand(1);
  const vlp::MatrixXf image = vlp::MatrixXf::Random(pairs, features);                // one row an image,
  const vlp::MatrixXf text = 0.3f * image + vlp::MatrixXf::Random(pairs, features);  // and its report
  const float log_scale = std::log(1 / 0.07f);

  vlp::Cpu device;           // threads and scratch memory
  vlp::InfoNce<float> loss;  // any other loss is called the same way
  float value = 0, d_log_scale = 0;
  vlp::MatrixXf d_image(pairs, features), d_text(pairs, features);

  const vlp::InfoNce<float>::Inputs inputs{vlp::view(image), vlp::view(text), &log_scale};
  loss.forward(device, inputs, {&value});
  loss.backward(device, inputs, 1.0f, {vlp::view(d_image), vlp::view(d_text), &d_log_scale});

  std::cout << "loss " << value << "\nd loss / d log scale " << d_log_scale << "\nd loss / d image\n"
            << d_image << "\nd loss / d text\n"
            << d_text << '\n';
}
