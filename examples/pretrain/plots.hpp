/// \file
/// Plots of a training run, drawn by gnuplot where it is installed.
#pragma once

#include "pretrain/detail/gnuplot.hpp"

#include <vlp/core/errors.hpp>
#include <vlp/eval/structure_discrimination.hpp>

#include <cmath>
#include <filesystem>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace vlp::pretrain {

/// One curve: y over x, of equal length; points that are not finite are left out.
struct Curve {
  std::string name;
  std::vector<double> x, y;
};

/// Writes a PNG with the curves in one diagram. Returns an empty string, or, when there is no plot, a note
/// that says why (gnuplot is missing; nothing to plot): a run does not fail for want of a picture. Throws
/// std::invalid_argument when a curve's x and y differ in length.
[[nodiscard]] inline std::string plot_losses(const std::filesystem::path& png, std::span<const Curve> curves,
                                             std::string_view x_label = "step",
                                             std::string_view y_label = "loss") {
  std::ostringstream data, plot;
  std::size_t count = 0;
  for (const Curve& curve : curves) {
    require(curve.x.size() == curve.y.size(), "plot_losses: curve \"", curve.name, "\" has ", curve.x.size(),
            " x but ", curve.y.size(), " y");
    std::ostringstream points;
    points.precision(9);
    for (std::size_t i = 0; i < curve.x.size(); ++i)
      if (std::isfinite(curve.x[i]) && std::isfinite(curve.y[i]))
        points << curve.x[i] << ' ' << curve.y[i] << '\n';
    if (points.str().empty()) continue;
    ++count;
    data << "$curve" << count << " << EOD\n" << points.str() << "EOD\n";
    plot << (count == 1 ? "plot " : ", ") << "$curve" << count
         << " using 1:2 with lines linewidth 2 linetype " << count << " title "
         << detail::gnuplot_text(curve.name);
  }
  if (count == 0) return png.string() + ": nothing to plot";
  std::ostringstream script;
  script << detail::plot_style(960, 600) << "set xlabel " << detail::gnuplot_text(x_label) << "\nset ylabel "
         << detail::gnuplot_text(y_label)
         << "\nset key inside right top opaque\nset yrange [0:*]\nset xrange [*:*] noextend\n"
         << data.str() << plot.str() << '\n';
  return detail::run_gnuplot(png, script.str());
}

/// Writes a PNG with one bar for each perturbation and one for all at once: the share of reports where the
/// original wins, its chance level as a mark and, when `before` (an untrained model, another run) is given,
/// that result as a second bar. Same return value as plot_losses. Throws std::invalid_argument when `before`
/// has other perturbations.
[[nodiscard]] inline std::string plot_structure_accuracy(
    const std::filesystem::path& png, const eval::StructureDiscrimination& result,
    const eval::StructureDiscrimination* before = nullptr, std::string_view result_name = "after training",
    std::string_view before_name = "before training") {
  require(before == nullptr || before->perturbations.size() == result.perturbations.size(),
          "plot_structure_accuracy: the result has ", result.perturbations.size(),
          " perturbations but before has ", before != nullptr ? before->perturbations.size() : 0);
  if (result.overall.count == 0) return png.string() + ": nothing to plot";

  // Rows from the top; each bar is a box from 0 to its accuracy, in percent.
  std::ostringstream bars, bars_before, chance, labels, names;
  const auto add = [&](std::size_t row, const std::string& name, const eval::Accuracy& now,
                       const eval::Accuracy* then) {
    const double y = -static_cast<double>(row) - (row > 0 ? 0.4 : 0.0);
    const double low = then != nullptr ? 0.0 : -0.34;
    names << (row == 0 ? "" : ", ") << detail::gnuplot_text(name) << ' ' << y;
    if (now.count == 0) return;
    bars << "0 " << 100 * now.value() << ' ' << y + low << ' ' << y + 0.34 << '\n';
    labels << "108 " << y + (low + 0.34) / 2 << ' ' << std::lround(100 * now.value()) << '\n';
    chance << 100 * now.chance << ' ' << y - 0.42 << " 0 0.84\n";
    if (then == nullptr || then->count == 0) return;
    bars_before << "0 " << 100 * then->value() << ' ' << y - 0.34 << ' ' << y << '\n';
    labels << "108 " << y - 0.17 << ' ' << std::lround(100 * then->value()) << '\n';
  };
  add(0, "all at once (" + std::to_string(1 + result.perturbations.size()) + "-way)", result.overall,
      before != nullptr ? &before->overall : nullptr);
  for (std::size_t k = 0; k < result.perturbations.size(); ++k)
    add(k + 1, result.perturbations[k].name, result.perturbations[k].accuracy,
        before != nullptr ? &before->perturbations[k].accuracy : nullptr);

  const auto box = "using (0):(($3+$4)/2):1:2:3:4 with boxxyerror fillstyle solid noborder linecolor rgb ";
  std::ostringstream script;
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
  if (!bars_before.str().empty()) script << "$before << EOD\n" << bars_before.str() << "EOD\n";
  script << "plot $now " << box << "'#0072b2' title " << detail::gnuplot_text(result_name);
  if (!bars_before.str().empty())
    script << ", $before " << box << "'#bcc6cc' title " << detail::gnuplot_text(before_name);
  script << ", $chance using 1:2:3:4 with vectors nohead linewidth 2.5 linecolor rgb '#d55e00' title 'chance'"
         << ", $labels using 1:2:3 with labels right notitle\n";
  return detail::run_gnuplot(png, script.str());
}

}  // namespace vlp::pretrain
