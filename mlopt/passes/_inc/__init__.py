"""The parts of ``int8_inc``: neural-compressor's PT2E path, and the surgery on what it exports."""
