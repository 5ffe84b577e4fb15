// A user's program that takes something from every component.
#include "shared.hpp"

#include <vlp/io/csv.hpp>
#include <vlp/io/image.hpp>
#include <vlp/io/npy.hpp>
#include <vlp/io/safetensors.hpp>
#include <vlp/text/normalise.hpp>
#include <vlp/vlp.hpp>

#include <filesystem>
#include <iostream>
#include <vector>

int main() {
  const std::filesystem::path folder = "files";
  std::filesystem::create_directories(folder);
  const std::vector<float> values{1, 2, 3, 4, 5, 6};
  vlp::io::write_npy(folder / "values.npy", values, {2, 3});
  const bool npy = vlp::io::read_npy(folder / "values.npy").as<float>() == values;
  vlp::io::write_png(folder / "black.png", vlp::io::make_gray_image(4, 3));
  const bool png = vlp::io::read_image(folder / "black.png").width == 4;
  vlp::io::write_file(folder / "manifest.csv", "image,report\nblack.png,\"Clear, and quiet\"\n");
  const bool csv = vlp::io::read_csv(folder / "manifest.csv").rows.at(0).at(1) == "Clear, and quiet";
  const bool other = safetensors_from_another_file(folder / "values.safetensors", values);
  std::filesystem::remove_all(folder);
  std::cout << "npy " << npy << ", png " << png << ", csv " << csv << ", other " << other << "\n";
  return npy && png && csv && other ? 0 : 1;
}
