"""Registry of readers, each for one dataset in its published form."""

from medtransfer.prepare.readers import acdc, covid_qu, folder, idrid
from medtransfer.prepare.readers.contract import Reader

READERS: dict[str, Reader] = {
    "acdc": acdc.scan,
    "covid-qu": covid_qu.scan,
    "idrid": idrid.scan,
    "folder": folder.scan,
}
