"""Epochs of the checkpoints that an origin makes, without the libraries that make them, so that a study is planned at once."""

from medtransfer.config import CatalogueOrigin, FileOrigin, FusedOrigin, Pretrain, SeriesOrigin, TrainedOrigin
from medtransfer.config.schema import PackageOrigin, SoupOrigin
from medtransfer.pretrain.catalogue.entries import epoch_of
from medtransfer.pretrain.weights_files import list_weights

FUSED = 1  # epoch that is recorded for a fusion; 0 has the same encoders with random weights


def trains(section: Pretrain) -> bool:
    """Return whether the section's origin trains on source images; others take weights from elsewhere."""
    return isinstance(section.origins[section.origin], TrainedOrigin)


def planned_epochs(section: Pretrain) -> tuple[int, ...]:
    """Return the epochs that a training saves: the section's checkpoints, the last epoch and the random initialisation."""
    return tuple(sorted({0, *section.checkpoints, section.epochs}))


def epochs_of(section: Pretrain) -> tuple[int, ...]:
    """List the epochs of all checkpoints that the section's origin makes, ascending, including 0.

    Raises:
        InputError: they follow from files that are missing, or from an unknown entry of the catalogue.
    """
    origin = section.origins[section.origin]
    if isinstance(origin, TrainedOrigin):
        return planned_epochs(section)
    if isinstance(origin, CatalogueOrigin):
        return 0, epoch_of(origin)
    if isinstance(origin, FileOrigin | SeriesOrigin):
        return 0, *list_weights(section)
    if isinstance(origin, SoupOrigin):
        return 0, max(origin.epochs)
    if isinstance(origin, PackageOrigin | FusedOrigin):
        return 0, origin.epoch if isinstance(origin, PackageOrigin) else FUSED
    from medtransfer.pretrain.stage import kind_of  # it loads torch

    return tuple(kind_of(section).epochs(section))
