"""The processor's energy counters, on files as Linux has them."""

from pathlib import Path

from evaluator.offline.cost.energy import counter


def zone(root: Path, name: str, label: str, micro: int, largest: int = 1_000_000_000) -> Path:
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "name").write_text(f"{label}\n")
    (folder / "energy_uj").write_text(f"{micro}\n")
    (folder / "max_energy_range_uj").write_text(f"{largest}\n")
    return folder


def test_packages_are_added_and_their_parts_are_not(tmp_path: Path) -> None:
    one, other = zone(tmp_path, "intel-rapl:0", "package-0", 5_000_000), zone(tmp_path, "intel-rapl:1", "package-1", 0)
    zone(tmp_path, "intel-rapl:0:0", "core", 77)
    joules = counter(tmp_path)
    assert joules is not None
    assert joules() == 0.0
    (one / "energy_uj").write_text("7000000")
    (other / "energy_uj").write_text("500000")
    assert joules() == 2.5


def test_a_counter_that_starts_anew_is_followed(tmp_path: Path) -> None:
    one = zone(tmp_path, "intel-rapl:0", "package-0", 9_000_000, largest=10_000_000)
    joules = counter(tmp_path)
    assert joules is not None
    (one / "energy_uj").write_text("1000000")
    assert joules() == 2.0


def test_no_counter_or_one_that_may_not_be_read_is_none(tmp_path: Path) -> None:
    assert counter(tmp_path / "nothing") is None
    (zone(tmp_path, "intel-rapl:0", "package-0", 1) / "energy_uj").unlink()
    assert counter(tmp_path) is None
