#include <vlp/text/perturber.hpp>
#include <vlp/text/words.hpp>

int main() {
  vlp::text::Perturber<> perturb({.seed = 1});
  vlp::text::PerturbedReport out;
  perturb(vlp::text::read_words("Heart size normal."), vlp::text::Perturbation::reverse_sentence, 0, 0, out);
  return out.text == "normal size heart" ? 0 : 1;
}
