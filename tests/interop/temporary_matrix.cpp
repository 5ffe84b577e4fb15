// Must not compile: the view would outlive the matrix.
#include <vlp/interop/eigen.hpp>

vlp::MatrixView<float> dangling() {
  return vlp::view(vlp::MatrixXf(2, 3));
}
