#include <vlp/io/csv.hpp>
#include <vlp/io/file.hpp>
#include <vlp/io/image.hpp>
#include <vlp/io/npy.hpp>
#include <vlp/io/resize.hpp>
#include <vlp/io/safetensors.hpp>

int main() {
  return vlp::io::make_gray_image(4, 3).width == 4 ? 0 : 1;
}
