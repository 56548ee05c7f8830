"""Further evidence in words, each part by hand and in full."""

from dataclasses import replace

import pytest

from medtransfer.analysis.model import Analysis, Association, Evidence, OneEach, Patients, Power, Sampling
from medtransfer.metrics.comparison import ClusterMean
from medtransfer.report import evidence_text

FEW = ClusterMean(0.4, None, 0, 2, ())
KNOWN = ClusterMean(0.02, 0.005, 5, 6, ("pretraining",))  # the t quantile at 0.975 with 5 degrees is 2.5706


def analysis(evidence: Evidence) -> Analysis:
    return Analysis((), (), (), evidence, (), Sampling(100, 0.95, 1, 0.01, 0.1))


@pytest.mark.parametrize(
    ("evidence", "sentence"),
    [
        (
            Evidence(one_each=OneEach(0.985, KNOWN, 36, 10.0)),
            "Fine-tuning each of the 10 checkpoints once and taking the best keeps 98.5 % of the best metric, judged on the other "
            "seeds; against the last checkpoint the difference in TIS is +0.020 (+0.007 to +0.033): better.",
        ),
        (
            Evidence(association=Association(FEW, ClusterMean(0.85, None, 0, 2, ()), ClusterMean(-0.125, None, 0, 2, ()))),
            "Within a configuration the metric has a mean rank correlation of +0.40 with robustness and of +0.85 with the epoch "
            "alone; the partial correlation with robustness, given the epoch, is −0.125.",
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
            Evidence(patients=Patients(3, 20, 0.62, 0.013)),
            "With other test patients (bootstrap of the 20 or more of a target) the best checkpoint would stay the best in 62.0 % "
            "of draws, and the TIS of robustness (offline) has a standard deviation of 0.013.",
        ),
        (
            Evidence(patients=Patients(1, 2, 1.0, None)),
            "With other test patients (bootstrap of the 2 or more of a target) the best checkpoint would stay the best in 100.0 % "
            "of draws.",
        ),
    ],
)
def test_each_part_is_a_sentence(evidence: Evidence, sentence: str):
    assert evidence_text.sentences(analysis(evidence)) == [sentence]


def test_without_an_interval_the_baseline_is_undecided():
    (sentence,) = evidence_text.sentences(analysis(Evidence(one_each=OneEach(0.985, replace(FEW, value=0.02), 2, 4.0))))
    assert sentence.endswith("the difference in TIS is +0.020: undecided.")


def test_no_evidence_is_no_sentence(broken: Analysis):
    assert evidence_text.sentences(analysis(Evidence())) == []
    assert evidence_text.sentences(broken) == []  # one seed, no robustness


def test_a_study_like_the_papers_has_all_of_it(paperlike: Analysis):
    starts = [sentence.split()[0] for sentence in evidence_text.sentences(paperlike)]
    assert starts == ["Fine-tuning", "Within", "If", "With"]
