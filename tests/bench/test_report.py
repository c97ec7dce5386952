"""How samples become figures, and figures a table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from bench import registry, report
from bench.__main__ import main
from bench.figures import Bench, Experiment, Figure
from bench.runner import Outcome, Runner, rows
from bench.samples import Samples, Spread, median, p99, plain, quantile

SAMPLES = st.lists(st.floats(min_value=0, max_value=1e6), min_size=1)


class TestSamples:
    @given(SAMPLES, st.floats(min_value=0, max_value=1))
    def test_a_quantile_is_a_sample_that_so_many_are_at_most(
        self, samples: list[float], share: float
    ) -> None:
        found = quantile(samples, share)
        assert found in samples
        assert sum(sample <= found for sample in samples) >= share * len(samples) - 1e-9

    def test_no_samples_have_no_quantile(self) -> None:
        with pytest.raises(ValueError, match="no samples"):
            quantile([], 0.5)

    def test_a_spread_reduces_each_repetition_first(self) -> None:
        spread = Spread.of([[1, 2, 9], [4, 4, 4], [3, 3, 100]], median)
        assert (spread.low, spread.middle, spread.high) == (2, 3, 4)
        assert (spread.repetitions, spread.samples) == (3, 9)

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (0, "0"),
            (0.00479, "0.00479"),
            (0.5, "0.500"),
            (16.04, "16.0"),
            (123.4, "123"),
            (12345.6, "12,346"),
        ],
    )
    def test_numbers_have_three_digits(self, value: float, text: str) -> None:
        assert plain(value) == text


def outcome(**series: Samples) -> Outcome:
    return Outcome(repetitions=[series])


class TestRows:
    def test_the_factor_says_how_many_times_better_ours_is(self) -> None:
        outcomes = {"us": outcome(time=[0.5], rate=[10.0]), "them": outcome(time=[2.0], rate=[40.0])}
        faster = Figure("a", "time", "s", ("us", "time"), {"them": ("them", "time")})
        slower = Figure("b", "rate", "/s", ("us", "rate"), {"them": ("them", "rate")}, higher=True)
        factors = [row.compared[0].factor for row in rows([faster, slower], outcomes)]
        assert factors == [4.0, 0.25]

    def test_samples_are_scaled_to_the_unit(self) -> None:
        [row] = rows(
            [Figure("a", "time", "ms", ("us", "time"), scale=1e3, reduce=p99)], {"us": outcome(time=[0.002])}
        )
        assert row.ours is not None
        assert row.ours.middle == 2.0

    def test_what_was_not_measured_says_so(self) -> None:
        figure = Figure("a", "time", "s", ("us", "time"), {"them": ("them", "time")})
        outcomes = {"us": outcome(time=[1.0]), "them": Outcome(failures=["OSError: no room"], loads=[0.5])}
        [row] = rows([figure], outcomes)
        assert row.compared[0].factor is None
        run = report.Run(report.now(), 3, True, "python -m bench")
        told = report.to_markdown(run, [row], outcomes)
        assert "| time | 1.00 s | not measured, them |" in told
        assert "- them: OSError: no room" in told
        assert json.loads(report.to_json(run, [row], outcomes))["experiments"]["them"]["failures"] == [
            "OSError: no room"
        ]


class TestMarkdownFile:
    def test_a_file_with_markers_keeps_what_is_around_them(self, tmp_path: Path) -> None:
        file = tmp_path / "performance.md"
        file.write_text("# Before\n\n<!-- bench:begin -->\nold\n<!-- bench:end -->\n\nAfter\n")
        for text in ("new\n", "newer\n"):
            report.write_section(file, "bench", text)
        assert file.read_text() == "# Before\n\n<!-- bench:begin -->\nnewer\n<!-- bench:end -->\n\nAfter\n"

    @pytest.mark.parametrize("old", [None, "no markers\n", "<!-- bench:begin -->\nnever closed\n"])
    def test_any_other_becomes_the_text(self, tmp_path: Path, old: str | None) -> None:
        file = tmp_path / "table.md"
        if old is not None:
            file.write_text(old)
        report.write_section(file, "bench", "new\n")
        assert file.read_text() == "new\n"


class TestRunner:
    def test_repetitions_are_taken_in_turns_and_a_failure_stops_nothing(self) -> None:
        done: list[str] = []

        def experiment(name: str, fails: bool = False) -> Experiment:
            def run(bench: Bench) -> Mapping[str, Samples]:
                assert list(bench.scratch.iterdir()) == []
                (bench.scratch / "left behind").touch()
                done.append(name)
                if fails:
                    raise OSError("no room")
                return {"series": [float(bench.instances)]}

            return Experiment(name, run, repetitions=2)

        runner = Runner(Console(quiet=True), 7, quick=False)
        outcomes = runner.run([experiment("a"), experiment("b", fails=True)])
        assert done == ["a", "b", "a", "b"]
        assert outcomes["a"].series("series") == [[7.0], [7.0]]
        assert outcomes["b"].failures == ["OSError: no room"] * 2


class TestRegistry:
    def test_every_figure_can_be_measured(self) -> None:
        assert registry.figures()

    def test_a_prefix_selects_and_brings_its_experiments(self) -> None:
        [figure] = registry.select(["host.kill"])
        assert {experiment.name for experiment in registry.needed_by([figure])} == figure.experiments
        assert len(registry.select(["host"])) > 10

    def test_an_unknown_name_is_refused_with_those_that_there_are(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["no.such"]) == 2
        assert "there is no figure 'no.such'; there are: host.boot, " in capsys.readouterr().err

    @pytest.mark.parametrize("count", ["0", "-1", "x", "1.5"])
    def test_a_number_of_instances_that_is_none_is_refused(
        self, count: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit):
            main(["--instances", count])
        assert "is not a whole number above 0" in capsys.readouterr().err


@pytest.mark.slow
def test_a_quick_run_measures_a_real_host(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, document = tmp_path / "table.md", tmp_path / "run.json"
    arguments = ["host.port_memory", "--quick", "--instances", "2"]
    assert main([*arguments, "--markdown", str(table), "--json", str(document)]) == 0
    assert table.read_text() == capsys.readouterr().out
    [figure] = json.loads(document.read_text())["figures"]
    assert (
        5 < figure["ours"]["middle"] < figure["baselines"]["a fresh interpreter for each"]["value"]["middle"]
    )
