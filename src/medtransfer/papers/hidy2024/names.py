"""Names in the released files, mapped to this project's names."""

MODES = {"False": "full", "True": "decoder"}  # whether the encoder is frozen
POOLED = {"False": False, "True": True}
DISTANCES = {"cosine_distance": "cosine", "inv_pearson_corr": "pearson", "l2_loss": "l2"}
MODELS = {"basic U-Net": "unet", "ResNet50 Attention U-Net": "resnet50", "Swin U-Net": "swin"}
ENCODERS = {"u-net_encoder": "unet", "resnet50": "resnet50", "swin_transformer": "swin"}
TUNED_ON = {"ACDC": "acdc", "COVIDQUDataset": "covid-qu", "IDRiD": "idrid"}
SCORED_ON = {"ACDC": "acdc", "COVID-QU": "covid-qu", "IDRiD": "idrid"}
SCHEMES = {"simple": "simple", "advanced": "advanced"}
TRAININGS = {"simple_training": "simple", "advanced_training": "advanced"}

# Column of the file -> ours. Dice and Jaccard are means over classes if there are several (ACDC).
METRICS = {
    "ImageNet accuracy": "source_accuracy", "accuracy": "accuracy", "balanced accuracy": "balanced_accuracy",
    "sensitivity": "sensitivity", "specificity": "specificity", "precision": "precision", "mcc": "mcc",
    "modified hausdorff distance": "hd95", "area under roc": "auc", "average precision score": "average_precision",
}  # fmt: skip
OVERLAP = {"dice": ("mean dice index", "dice index"), "jaccard": ("mean jaccard index", "jaccard index")}  # several classes, one

DOWNSTREAM = {  # column of the file -> our column and the mapping of its values; None for numbers
    "model": ("encoder", MODELS), "dataset": ("target", TUNED_ON), "freeze encoder": ("mode", MODES),
    "pretraining scheme": ("scheme", SCHEMES), "pretraining length": ("epoch", None), "seed": ("seed", None),
}  # fmt: skip
ROBUSTNESS = {
    "encoder": ("encoder", ENCODERS), "pretraining_scheme": ("scheme", TRAININGS), "dataset": ("target", SCORED_ON),
    "metric": ("distance", DISTANCES), "margin": ("margin", None), "level": ("level", None), "pooled": ("pooled", POOLED),
    "pretraining_length": ("epoch", None), "robustness": ("loss", None),
}  # fmt: skip
