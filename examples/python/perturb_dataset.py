"""Reports with their nine perturbations from a PyTorch DataLoader, whose workers perturb in parallel.

python perturb_dataset.py [REPORTS.txt]    # one report a line
"""
import sys
from pathlib import Path

import vlp.text

try:
    from torch.utils.data import DataLoader, Dataset
except ImportError:
    sys.exit("perturb_dataset: PyTorch is not installed, which this example loads data with")

REPORTS = [
    "Findings: The left lung is clear. No pleural effusion.",
    "Findings: Large right pneumothorax. The heart is mildly enlarged.",
    "Findings: Small calcified granuloma in the right upper lobe.",
    "Impression: No acute cardiopulmonary abnormality.",
]


class PerturbedReports(Dataset):
    """Each item is a report with its perturbations; the same item of another epoch has other ones."""

    def __init__(self, reports, seed=0):
        self.reports = [vlp.text.section(report, "findings") or report for report in reports]
        self.epoch = 0
        self.perturber = vlp.text.Perturber(seed=seed)

    def __len__(self):
        return len(self.reports)

    def __getitem__(self, index):
        return self.perturber.all(self.reports[index], self.epoch, index)


def main():
    reports = Path(sys.argv[1]).read_text(encoding="utf-8").splitlines() if len(sys.argv) > 1 else REPORTS
    dataset = PerturbedReports(reports)
    for epoch in range(2):
        dataset.epoch = epoch
        for batch in DataLoader(dataset, batch_size=2, num_workers=2):  # workers start anew and see the epoch
            # batch.original: a report each; batch.texts: nine lists of a text each; batch.changed: nine tensors
            print(f"epoch {epoch}: {batch.original[0]}")
            for name, texts, changed in zip(vlp.text.perturbations(), batch.texts, batch.changed):
                print(f"  {name}: {texts[0]}" if changed[0] else f"  {name}: there is no other arrangement")


if __name__ == "__main__":
    main()
