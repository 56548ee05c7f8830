"""Further evidence in words, each part by hand and in full."""

import pytest

from medtransfer.analysis.model import Analysis, Association, Evidence, Patients, Power, Sampling
from medtransfer.metrics.comparison import ClusterMean
from medtransfer.report import evidence_text

FEW = ClusterMean(0.4, None, 0, 2, ())
WITHIN = "Within a configuration, without epoch 0, the metric has a mean rank correlation"


def analysis(evidence: Evidence) -> Analysis:
    return Analysis((), (), (), evidence, (), Sampling(100, 0.95, 1, 0.01, 0.1))


@pytest.mark.parametrize(
    ("evidence", "sentence"),
    [
        (
            Evidence(association=Association(FEW, ClusterMean(0.85, None, 0, 2, ()), ClusterMean(-0.125, None, 0, 2, ()), 2, 2)),
            f"{WITHIN} of +0.40 with robustness and of +0.85 with the epoch "
            "alone; the partial correlation with robustness, given the epoch, is −0.125.",
        ),
        (
            Evidence(association=Association(FEW, FEW, FEW, 4, 1)),
            f"{WITHIN} of +0.40 with robustness and of +0.40 with the epoch "
            "alone; the partial correlation with robustness, given the epoch, is +0.400, defined in 1 of 4 "
            "configurations.",
        ),
        (
            Evidence(association=Association(FEW, FEW, None, 4, 0)),
            f"{WITHIN} of +0.40 with robustness and of +0.40 with the epoch "
            "alone; robustness or the metric has exactly the epochs’ order or its reverse: nothing is left given the epoch.",
        ),
        (
            Evidence(association=Association(FEW, FEW, ClusterMean(0.676, 0.324, 5, 6, ("pretraining",)), 6, 6)),
            f"{WITHIN} of +0.40 with robustness and of +0.40 with the epoch "
            "alone; the partial correlation with robustness, given the epoch, is +0.676 (−0.157 to +1.000).",
        ),
        (
            Evidence(permuted={"offline": 0.031, "online": 0.5}),
            "If the choices change places between configurations of the same encoder and mode, they do at least as well with a "
            "probability of 0.03 (robustness, offline) and 0.50 (robustness, online).",
        ),
        (
            Evidence(power=Power(0.0123, {"acdc": 7.0, "idrid": 1000.0})),
            "With its seeds this study can distinguish two checkpoints of a configuration whose TIS differs by 0.012 (median; "
            "probability 80 %); seeds needed for a difference of 0.01: acdc 7, idrid more than 1000.",
        ),
        (
            Evidence(power=Power(6.02, {"acdc": 239.5})),
            "With its seeds this study can distinguish no two checkpoints of a configuration by their TIS (median; probability "
            "80 %); seeds needed for a difference of 0.01: acdc 240.",
        ),
        (
            Evidence(patients=Patients(3, 20, 0.62, 0.013)),
            "With other test patients (bootstrap of the 20 or more of a target) the best checkpoint would stay the best in 62.0 % "
            "of draws, and the TIS of robustness (offline) has a standard deviation of 0.013.",
        ),
        (
            Evidence(patients=Patients(1, 6, 1.0, None)),
            "With other test patients (bootstrap of the 6 or more of a target) the best checkpoint would stay the best in 100.0 % "
            "of draws.",
        ),
        (
            Evidence(patients=Patients(1, 2, 1.0, None)),
            "What other test patients would change is not told: a target has 2, and 6 are the least.",
        ),
    ],
)
def test_each_part_is_a_sentence(evidence: Evidence, sentence: str):
    assert evidence_text.sentences(analysis(evidence)) == [sentence]


def test_no_evidence_is_no_sentence(broken: Analysis):
    assert evidence_text.sentences(analysis(Evidence())) == []
    assert evidence_text.sentences(broken) == [
        "Not judged, since a choice needs one more seed than it is made on: one fine-tuning each, two fine-tunings each, race by "
        "seeds."
    ]  # one seed, no robustness


def test_a_study_like_the_papers_has_all_of_it(paperlike: Analysis):
    starts = [sentence.split()[0] for sentence in evidence_text.sentences(paperlike)]
    assert starts == ["Fine-tuning", "Other", "These", "Within", "If", "With"]
