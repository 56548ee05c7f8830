"""A raw dataset as its authors publish it goes in; a prepared target on disk comes out. One reader a file."""

from medtransfer.prepare import acdc, covid_qu, folder, idrid
from medtransfer.prepare.reader import Reader

READERS: dict[str, Reader] = {
    "acdc": acdc.scan,
    "covid-qu": covid_qu.scan,
    "idrid": idrid.scan,
    "folder": folder.scan,
}
