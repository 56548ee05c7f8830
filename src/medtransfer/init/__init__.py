"""`medtransfer init`: the files of a project of one's own."""
