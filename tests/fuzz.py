"""Looks for input that breaks a reader, guided by the code it reaches: Hypothesis' tests of any bytes, under atheris.

``pip install atheris; python -m tests.fuzz --seconds 60 [NAME…]`` runs each test for so long in a process of its own,
and ends with 1 where one failed; ``--list`` names them. atheris has wheels for Linux only, so it is no dependency.
"""

import argparse
import importlib
import importlib.util
import subprocess
import sys
import tempfile

from rich.console import Console

TESTS = {
    "events": "tests.streams.events.test_schema:test_decoding_is_total_on_any_bytes",
    "damaged": "tests.streams.events.test_schema:test_decoding_is_total_on_damaged_events",
    "values": "tests.streams.events.test_files:test_no_json_value_makes_decoding_raise",
    "files": "tests.streams.events.test_files:test_no_bytes_make_reading_raise_more_than_a_refusal_of_the_file",
    "presets": "tests.streams.events.test_adapters:test_reading_never_fails_and_lets_only_valid_events_through",
    "markup": "tests.streams.events.test_files:test_text_of_markup_is_bounded_and_total",
    "bodies": "tests.liveshelf.collect.test_batch:test_any_body_becomes_records_that_the_worker_takes_or_refusals",
    "foreign": "tests.liveshelf.collect.test_foreign:test_any_body_becomes_events_or_refusals",
    "gzip": "tests.liveshelf.collect.test_batch:test_any_bytes_decompress_or_are_refused",
    "filters": "tests.liveshelf.collect.test_rules:test_any_text_is_a_filter_s_key_or_is_refused",
}
INSTRUMENTED = ("streams.events", "liveshelf.collect", "liveshelf.ingest")


def fuzz(name: str, seconds: int) -> None:
    """Run one test for so long; ends the process, with another status than 0 where it failed."""
    atheris = importlib.import_module("atheris")
    module, _, function = TESTS[name].partition(":")
    with atheris.instrument_imports(include=INSTRUMENTED):
        test = getattr(importlib.import_module(module), function)
    with tempfile.TemporaryDirectory() as corpus:
        limits = [f"-max_total_time={seconds}", "-max_len=4096", "-len_control=0", "-timeout=20"]
        atheris.Setup([sys.argv[0], *limits, f"-artifact_prefix={corpus}/", corpus], test.hypothesis.fuzz_one_input)
        atheris.Fuzz()


def main() -> int:
    """Run all tests that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(TESTS)}; all by default")
    parser.add_argument("--seconds", type=int, default=60, help="for each test")
    parser.add_argument("--list", action="store_true", help="name the tests")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    given, say = parser.parse_args(), Console(highlight=False, markup=False).print
    if unknown := set(given.names) - TESTS.keys():
        parser.error(f"no test {', '.join(sorted(unknown))}; there are {', '.join(TESTS)}")
    if given.list:
        say("\n".join(f"{name}  {test}" for name, test in TESTS.items()))
        return 0
    if given.alone:
        fuzz(given.names[0], given.seconds)
    if importlib.util.find_spec("atheris") is None:
        parser.error("atheris is not installed: pip install atheris")
    failed = []
    for name in given.names or TESTS:
        say(f"--- {name}, {given.seconds} s")
        command = [sys.executable, "-m", "tests.fuzz", "--alone", "--seconds", str(given.seconds), name]
        if subprocess.run(command, check=False).returncode:
            failed.append(name)
    say(f"failed: {', '.join(failed)}" if failed else "nothing failed")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
