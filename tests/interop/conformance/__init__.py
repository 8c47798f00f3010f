"""The parts of tests/vectors/conformance-1.json, which interop.make_conformance writes: what is expected is said here, and
only sealed bytes and hashes are computed."""
