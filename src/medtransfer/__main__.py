"""Entry point of the command `medtransfer`, also as `python -m medtransfer`."""

import gc
import os
import signal


def main() -> None:
    """Import the command line and run it; Ctrl-C in the meantime exits with 130, as it does later."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:  # its KeyboardInterrupt would be caught or wrapped by what is being imported
        signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    from medtransfer.cli import main as run

    signal.signal(signal.SIGINT, before)
    try:
        run()
    finally:
        gc.freeze()  # the interpreter looks for garbage as it ends, which takes seconds where PyTorch is loaded


if __name__ == "__main__":
    main()
