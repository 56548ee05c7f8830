"""Processor time of commands that find their result finished, or refuse, relative to 1.5 s and 1 s.

Run it from the project's folder: `PYTHONPATH=src python benchmarks/reuse.py`. `--sources` names the `src` of another version to
compare with, which is timed alternately.
"""

import statistics
import tempfile
from pathlib import Path

from versions import named, parser, run

GOALS = {0: 1.5, 2: 1.0}  # seconds by exit code: reused, refused
PARAMS = """
pretrain: {epochs: 1, checkpoints: [1], size: 32}
finetune: {train_epochs: 1, epoch_steps: 1}
study: {encoders: [unet], origins: [simple], targets: [sample], modes: [full], seeds: [1], epochs: [0, 1]}
report: {least: 0.0}
score: {indicators: [robustness], max_images: 20}
rank: {candidates: [checkpoints/unet-simple, random@resnet18], indicators: [robustness], max_images: 20, workers: 1}
"""
STUDY = f"""
about: {{what: Does it matter?, images: {{sample: 8}}, parameters: {{unet: 296136}}}}
{PARAMS.replace("least: 0.0", "least: 0.0, out: of-study")}"""
SERIES = "checkpoints/unet-simple"
MODEL = "models/sample/unet-simple/e001-full-s123124"
LUNGS = "data/samples/lungs/Infection Segmentation Data/Test/Non-COVID"
IMAGES, MASKS = f"{LUNGS}/images", f"{LUNGS}/infection masks"
REUSED: tuple[tuple[str, ...], ...] = (
    ("prepare", "--target", "sample"),
    ("pretrain",),
    ("finetune", "--epoch", "0,1"),
    ("score",),
    ("demo",),
    ("guard", "--train-epochs", "1", "--seeds", "2", "--workers", "1"),
    ("race", "--candidates", SERIES, "--workers", "1", "--budget-factor", "1"),
    ("cka", "--candidates", SERIES, "--max-images", "20"),
    ("rank",),  # after a race, whose winner is an outcome that it shows
    ("grid", "--plan"),
    ("evidence", "export", "--out", "evidence.csv"),
    ("study", "--list"),
    ("replay", "--paper", "truong"),
    ("search",),
    ("explain",),
    ("report",),  # after a search, of whose winner it warns, as that of a study does
    ("study", "small.yaml"),
    ("predict", "--model", MODEL, "--images", IMAGES),
    ("predict", "--model", MODEL, "--images", IMAGES, "--masks", MASKS, "--out", "measured"),
    *(("export", "--model", MODEL, "--format", form) for form in ("folder", "torch", "onnx")),
)
WITHOUT_TARGET = {
    "pretrain", "grid", "evidence", "study", "replay", "search", "explain", "report", "predict", "export", "demo",
}  # fmt: skip
AT_NOWHERE = tuple((command[0], "--target", "nowhere") for command in REUSED if command[0] not in WITHOUT_TARGET)
REFUSED: tuple[tuple[str, ...], ...] = AT_NOWHERE + (
    ("pretrain", "--origin", "nowhere"),
    ("pretrain", "--params", "params.yaml", "--params", "depht.yaml"),
    ("pretrain", "--params", "params.yaml", "--params", "timm.yaml"),
    ("finetune", "--epoch", "7"),
    ("finetune", "--loss", "nowhere"),
    ("score", "--split", "nowhere"),
    ("score", "--level", "-9"),
    ("pretrain", "--force", "--num-nodes", "2"),
    ("rank", "nowhere"),
    ("cka", "nowhere"),
    ("predict", "--model", "nowhere"),
    ("predict", "--model", MODEL, "--images", "nowhere"),
    ("predict", "--model", MODEL, "--images", IMAGES, "--masks", "nowhere"),
    ("indicators",),
    ("export", "--model", "nowhere"),
    ("replay",),
    ("replay", "--downstream", "nowhere.csv", "--robustness", "nowhere.csv"),
    ("replay", "--downstream", "params.yaml", "--robustness", "params.yaml"),
)  # fmt: skip
REFUSED_WITHOUT_RESULTS: tuple[tuple[str, ...], ...] = (  # in an empty folder
    ("report",),
    ("search",),
    ("search", "--results", "replay"),
    ("explain",),
    ("evidence", "export", "--out", "evidence.csv"),
    ("guard",),
    ("race",),
    ("rank", "nowhere"),
    ("pretrain", "--stop-rule", "nowhere"),
)


def main() -> None:
    """Make the results, then measure and print."""
    chosen = parser(__doc__, runs=5).parse_args()
    versions = named(chosen)
    worst = 0.0
    with tempfile.TemporaryDirectory() as place, tempfile.TemporaryDirectory() as empty:
        Path(place, "params.yaml").write_text(PARAMS, encoding="utf-8")
        Path(place, "depht.yaml").write_text("pretrain: {encoders: {unet: {depht: 3}}}", encoding="utf-8")
        Path(place, "timm.yaml").write_text(
            "pretrain: {encoders: {other: {build: timm, name: x}}, encoder: other}", encoding="utf-8"
        )
        Path(place, "small.yaml").write_text(STUDY, encoding="utf-8")
        for command in REUSED:
            run(place, versions[""], command)
        for folder, code, commands in ((place, 0, REUSED), (place, 2, REFUSED), (empty, 2, REFUSED_WITHOUT_RESULTS)):
            for command in commands:
                times: dict[str, list[float]] = {name: [] for name in versions}
                for _ in range(chosen.runs):
                    for name, sources in versions.items():
                        times[name].append(run(folder, sources, command, code).processors)
                medians = {name: statistics.median(values) for name, values in times.items()}
                shown = ", ".join(f"{name}{seconds:.2f} s" for name, seconds in medians.items())
                print(f"{' '.join(command)}: {shown} of processors; expected within {GOALS[code]} s", flush=True)
                worst = max(worst, medians[""] / GOALS[code])
    print(f"ratio: {worst:.2f}")


if __name__ == "__main__":
    main()
