// Must not compile: views are row-major.
#include <vlp/interop/eigen.hpp>

vlp::MatrixView<float> column_major(Eigen::MatrixXf& matrix) {
  return vlp::view(matrix);
}
