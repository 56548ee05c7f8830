"""Registry of readers, each for one dataset in its published form, or for one kind of files.

A reader is the function `scan` of a module, which is loaded when a target is prepared by it.
"""

from medtransfer.prepare.readers.contract import Reader
from medtransfer.registry import Registry

NAMES = (
    "acdc", "covid-qu", "idrid", "folder", "nnunet", "msd", "nifti", "tiff", "dicom", "table", "image-folder",
    "chestxray14", "chexpert", "rsna-pe", "shenzhen", "aptos", "patchcamelyon", "kermany", "nih-four-findings", "siim",
    "flowers17", "flowers102", "oxford-pets", "oxford-pets-breeds", "cityscapes", "voc2012", "camvid", "crops",
)  # fmt: skip
READERS: Registry[Reader] = Registry({name: f"{__name__}.{name.replace('-', '_')}:scan" for name in NAMES})
