"""`python -m medtransfer` is the command `medtransfer`."""

from medtransfer.cli import main

main()
