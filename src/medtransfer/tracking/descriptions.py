"""Descriptions of the experiments, which the MLflow UI shows above their runs: which columns and charts to look at."""

NOTE = "mlflow.note.content"
DESCRIPTIONS = {  # by stage
    "pretrain": (
        "One run per pretraining, `<encoder>-<origin>`. Columns: `encoder`, `origin`, `source`; for imported weights also "
        "`weights_matched` of `weights_total`. Charts by step (= pretraining epoch): `source_accuracy`, or `val_loss` of a pretext "
        "task, and `train_loss`. The tag `stopped` says why it ended; the checkpoints are in the artifact folder `checkpoints`."
    ),
    "score": (
        "One run per pretraining and target, `<encoder>-<origin> → <target>`. Columns: `encoder`, `origin`, `target`. Charts by "
        "step (= pretraining epoch): `robustness` for full training, `robustness_pooled` for a frozen encoder, `logme`: the "
        "higher, the better the checkpoint is expected to transfer. The artifact `scores.png` shows all of them."
    ),
    "finetune": (
        "One run per cell, `e<epoch> <mode> s<seed> · <encoder>-<origin> → <target>`. Columns: `dice` (on the test images, or on "
        "the validation images where `evaluate` says so), `epoch` (of the checkpoint that it starts from), `mode`, `seed`. "
        "Charts: group the runs by `epoch` and compare `dice`; `train_loss` by step (= fine-tuning epoch). "
        "`model/overlays.png` among the artifacts shows predictions."
    ),
    "grid": (
        "One run per study. Charts by step (= finished jobs): `cells_done`, `cells_failed`, `seconds_left`. The results are in "
        "the experiments `medtransfer/pretrain`, `medtransfer/score` and `medtransfer/finetune`."
    ),
    "report": (
        "One run per set of results. Columns: `tis_offline`, `tis_online`, `tis_full`, `tis_random`: the fraction of the best "
        "checkpoint's Dice that each way of choosing keeps, as a mean over configurations. Open the artifact `report.html` first."
    ),
    "rank": (
        "One run per candidate encoder and target, `<candidate> → <target>`. Columns: `candidate`, `width` (channels of the ranked "
        "level), and one metric per indicator, `<indicator>_se` its standard error. Select the runs of one `target` and press "
        "Compare. Which indicators may be compared, and how far: `ranking.html` in the folder of the ranking."
    ),
    "cka": (
        "One run per comparison of encoders, `<encoder> ~ <encoder> → <target>`. Columns: `cka_level_1` (the deepest) and so on: "
        "linear CKA of the same level of both, or its mean over all pairs; `estimate`, `features` and `images` say of what. Open "
        "the artifact `cka.png`."
    ),
    "race": (
        "One run per race, `<winner> → <target>`. Columns: `winner`, `rungs`, `rivals` (others that cannot be distinguished from "
        "it), `dice` (of the winner, on the test images), `cost` (epochs, relative to fine-tuning everything in full). Open the "
        "artifact `race.html` first; the fine-tunings are in `medtransfer/finetune`, with `evaluate` = validation."
    ),
    "guard": (
        "One run per comparison with no pretraining, `<encoder>-<origin> → <target>`. Columns: `verdict` (of each checkpoint of "
        "`epochs`), `choice` (the epoch to start from; None if undecided), `train_epochs`. Charts by step (= pretraining epoch): "
        "`difference` from no pretraining with `difference_low` and `difference_high`, and the validation scores themselves. The "
        "fine-tunings are in `medtransfer/finetune`, with `evaluate` = validation."
    ),
    "search": (
        "One run per search, with its best settings below it. Columns: `tis_held_out` against `tis_default` says whether the "
        "search pays on targets that it has not seen; of the settings, `distance`, `margin`, `level`, `pooling` and `tis`."
    ),
    "explain": (
        "One run per result. Columns: `spearman_epoch` and `spearman_robustness_level_2`, mean rank correlations with the test "
        "metric over checkpoints, and `partial_robustness_level_2`, that given the epoch. Open the artifact `explain.html` first."
    ),
    "predict": (
        "One run per prediction, `<images> · <model>`. Columns: `models` (the keys of their cells), `predicted_images`, "
        "`predicted_empty` (images without any foreground) and, where there were reference masks, `dice` and the other metrics. "
        "The artifact `classes.csv` has the pixels of each class in each image."
    ),
    "export": (
        "One run per model exported to MLflow. Columns: `target`, `model` (the key of its cell) and `difference`, the largest "
        "absolute difference of its probabilities from the original's. Its versions are in Models, under the target's name."
    ),
    "replay": (
        "The paper's released results. The column `kind` says what a run is: `finetune`, `robustness`, or `result` with the mean "
        "TIS. Columns of fine-tunings: `scheme`, `encoder`, `target`, `mode`, `epoch`, `dice`."
    ),
}
