/// \file
/// Plots of a training run, drawn by gnuplot where it is installed.
#pragma once

#include "pictures/detail/gnuplot.hpp"

#include <vlp/core/errors.hpp>
#include <vlp/eval/structure_discrimination.hpp>

#include <cmath>
#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace vlp::pictures {

/// The line of a curve.
enum class Line { thin, thick, dotted };

/// One curve: y over x, of equal length; points that are not finite are left out. Curves of one colour belong
/// together; there are eight, numbered from 0.
struct Curve {
  std::string name;
  std::vector<double> x, y;
  std::size_t colour = 0;
  Line line = Line::thin;
};

/// Writes a PNG with the curves in one diagram. Returns an empty string, or, when there is no plot, a note
/// that says why (gnuplot is missing; nothing to plot): a run does not fail for want of a picture. Throws
/// std::invalid_argument when a curve's x and y differ in length.
[[nodiscard]] inline std::string plot_losses(const std::filesystem::path& png, std::span<const Curve> curves,
                                             std::string_view x_label = "step",
                                             std::string_view y_label = "loss") {
  detail::Script data, plot;
  std::size_t count = 0;
  for (const Curve& curve : curves) {
    require(curve.x.size() == curve.y.size(), "plot_losses: curve \"", curve.name, "\" has ", curve.x.size(),
            " x but ", curve.y.size(), " y");
    detail::Script points;
    points.precision(9);
    for (std::size_t i = 0; i < curve.x.size(); ++i)
      if (std::isfinite(curve.x[i]) && std::isfinite(curve.y[i]))
        points << curve.x[i] << ' ' << curve.y[i] << '\n';
    if (points.str().empty()) continue;
    ++count;
    data << "$curve" << count << " << EOD\n" << points.str() << "EOD\n";
    plot << (count == 1 ? "plot " : ", ") << "$curve" << count << " using 1:2 with lines linetype "
         << curve.colour % 8 + 1 << " linewidth " << (curve.line == Line::thick ? 3 : 1.5) << " dashtype "
         << (curve.line == Line::dotted ? 3 : 1) << " title " << detail::gnuplot_text(curve.name);
  }
  if (count == 0) return png.string() + ": nothing to plot";
  detail::Script script;
  script << detail::plot_style(960, 600) << "set xlabel " << detail::gnuplot_text(x_label) << "\nset ylabel "
         << detail::gnuplot_text(y_label)
         << "\nset key inside right top opaque\nset yrange [0:*]\nset xrange [*:*] noextend\n"
         << data.str() << plot.str() << '\n';
  return detail::run_gnuplot(png, script.str());
}

/// Writes a PNG with one bar for each perturbation and one for all at once: the share of reports where the
/// original wins, with its chance level as a mark. Same return value as plot_losses.
[[nodiscard]] inline std::string plot_structure_accuracy(const std::filesystem::path& png,
                                                         const eval::StructureDiscrimination& result) {
  if (result.overall.count == 0) return png.string() + ": nothing to plot";

  // Rows from the top; each bar is a box from 0 to its accuracy, in percent.
  detail::Script bars, chance, labels, names;
  const auto add = [&](std::size_t row, const std::string& name, const eval::Accuracy& accuracy) {
    const double y = -static_cast<double>(row) - (row > 0 ? 0.4 : 0.0);
    names << (row == 0 ? "" : ", ") << detail::gnuplot_text(name) << ' ' << y;
    if (accuracy.count == 0) return;
    bars << "0 " << 100 * accuracy.value() << ' ' << y - 0.34 << ' ' << y + 0.34 << '\n';
    labels << "108 " << y << ' ' << std::lround(100 * accuracy.value()) << '\n';
    chance << 100 * accuracy.chance << ' ' << y - 0.42 << " 0 0.84\n";
  };
  add(0, "all at once (" + std::to_string(1 + result.perturbations.size()) + "-way)", result.overall);
  for (std::size_t k = 0; k < result.perturbations.size(); ++k)
    add(k + 1, result.perturbations[k].name, result.perturbations[k].accuracy);

  detail::Script script;
  script << detail::plot_style(960, 140 + 46 * static_cast<int>(result.perturbations.size() + 1))
         << "set xlabel 'original report preferred to the perturbed one, % of " << result.overall.count
         << " held-out reports'\nset xrange [0:110]\nset xtics 0,10,100\nset yrange ["
         << -static_cast<double>(result.perturbations.size()) - 1 << ":0.6]\nset ytics (" << names.str()
         << ")\nset ytics scale 0\nset tmargin 3\nunset grid\nset grid xtics\nset key at screen 0.98, screen "
            "0.98 right top horizontal samplen 3\n"
         << "$now << EOD\n"
         << bars.str() << "EOD\n$chance << EOD\n"
         << chance.str() << "EOD\n$labels << EOD\n"
         << labels.str() << "EOD\n";
  script << "plot $now using (0):(($3+$4)/2):1:2:3:4 with boxxyerror fillstyle solid noborder linecolor rgb "
            "'#0072b2' title 'model'";
  script << ", $chance using 1:2:3:4 with vectors nohead linewidth 2.5 linecolor rgb '#d55e00' title 'chance'"
         << ", $labels using 1:2:3 with labels right notitle\n";
  return detail::run_gnuplot(png, script.str());
}

}  // namespace vlp::pictures
