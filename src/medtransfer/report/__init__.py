"""The tracking store to selections, TIS, tables and figures."""
