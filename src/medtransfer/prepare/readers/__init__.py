"""Registry of readers, each for one dataset in its published form, or for one kind of files."""

from medtransfer.prepare.readers import acdc, covid_qu, dicom, folder, idrid, msd, nifti, nnunet, tiff
from medtransfer.prepare.readers.contract import Reader

READERS: dict[str, Reader] = {
    "acdc": acdc.scan,
    "covid-qu": covid_qu.scan,
    "idrid": idrid.scan,
    "folder": folder.scan,
    "nnunet": nnunet.scan,
    "msd": msd.scan,
    "nifti": nifti.scan,
    "tiff": tiff.scan,
    "dicom": dicom.scan,
}
