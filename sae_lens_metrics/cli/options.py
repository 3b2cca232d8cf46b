"""What several commands ask for: settings of metrics as flags, a preset, names of metrics."""

import argparse
import copy
import dataclasses
from collections.abc import Iterator, Sequence
from textwrap import fill
from typing import Any, get_args, get_origin, get_type_hints

from simple_parsing import ArgumentGenerationMode, ArgumentParser, DashVariant, NestedMode, SimpleHelpFormatter

from sae_lens_metrics.cli.mistakes import CommandParser, did_you_mean
from sae_lens_metrics.integrations.terminal import complain
from sae_lens_metrics.metrics.config import MetricsConfig, Preset
from sae_lens_metrics.metrics.registry import built_in_metrics, metric_names, readable_specs
from sae_lens_metrics.metrics.spec import MetricSpec

__all__ = ["MetricOptions", "SettingsParser", "settings_parser", "token_ids"]

_PLACEHOLDERS = {"int": "N", "float": "X", "str": "TEXT", "list": "NAME ...", "bool": "TRUE|FALSE"}
"""What help puts for a value, by simple_parsing's words for its type."""


class _Formatter(SimpleHelpFormatter):
    """Says a default only where it tells something, and each flag once: with hyphens; with underscores it is read, too."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default in (None, False, []) else super()._get_help_string(action)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        shown = copy.copy(action)
        shown.option_strings = [*dict.fromkeys(flag.replace("_", "-") for flag in action.option_strings)]
        if action.default is False:
            del shown.option_strings[1:]  # the others turn off what is off
            shown.nargs = 0  # it can be followed by true or false, but needs neither
        return super()._format_action_invocation(shown)

    def _format_args(self, action: argparse.Action, default_metavar: str) -> str:
        words = str(super()._format_args(action, default_metavar))
        return _PLACEHOLDERS.get(words.strip("[] "), words)


class SettingsParser(CommandParser, ArgumentParser):
    """A parser whose flags may come from dataclasses."""

    settings_dest = "config"
    """Where the settings of metrics are put; with ``NestedMode.DEFAULT`` their flags begin with it."""

    def add_argument_group(self, *args: Any, **kwargs: Any) -> argparse._ArgumentGroup:
        """A group under a heading in words, where simple_parsing would put the name of a class and a path in it."""
        title = kwargs.get("title") or ""
        if "['" in title:
            path = title.split("['")[1].rstrip("']").split(".")
            kwargs["title"] = f"settings of {path[-1]}" if len(path) > 1 else "settings"
        return super().add_argument_group(*args, **kwargs)


def settings_parser(command: str, description: str, *, usage: str, nested: NestedMode = NestedMode.WITHOUT_ROOT) -> SettingsParser:
    """A parser for a command that takes settings.

    Args:
        command: Its name.
        description: What it does.
        usage: What follows the command's name; flags are too many to repeat them all.
        nested: Whether flags begin with the name of the dataclass (``DEFAULT``) or not.
    """
    return SettingsParser(
        prog=f"sae-lens-metrics {command}",
        usage=f"sae-lens-metrics {command} {usage}",
        description=fill(description, 110),
        argument_generation_mode=ArgumentGenerationMode.NESTED,
        nested_mode=nested,
        formatter_class=_Formatter,
        add_option_string_dash_variants=DashVariant.UNDERSCORE_AND_DASH,
    )


class MetricOptions:
    """The settings of metrics as flags of a parser: all fields, and shorter names for those that are given most.

    Args:
        parser: Where they are added.
        flag: The flag of the preset.
        default: The preset without that flag.
        arguments: Those after the command's name; the preset among them gives the other flags' defaults.
        short: Whether settings that have a shorter name are flags under that name too.
    """

    def __init__(self, parser: SettingsParser, flag: str, default: Preset, arguments: Sequence[str], *, short: bool = False) -> None:
        self._parser = parser
        first = CommandParser(prog=parser.prog, add_help=False)
        first.others = flag
        for target in (parser, first):
            target.add_argument(
                flag,
                dest="preset",
                choices=get_args(Preset),
                default=default,
                help="how much to compute: seconds, minutes or hours (default: %(default)s)",
            )
            target.add_argument("--metrics", dest="metric_names", metavar="NAME,NAME", help="which metrics, separated by commas")
        known, self.rest = first.read_own(arguments)
        """The arguments without those of the preset and the names."""
        self._names = known.metric_names.split(",") if known.metric_names else None
        self._preset = MetricsConfig.preset(known.preset)
        specs, faults = readable_specs()
        for fault in faults:
            complain(f"{parser.prog}: left out: {' '.join(fault.split())}")
        parser.description = f"{parser.description or ''}\n\nmetrics (--metrics NAME,NAME):\n{_lines(specs)}"
        self._short = [each for spec in specs for each in _short_flags(spec)] if short else []
        for each in self._short:
            each.add_to(parser)
        parser.add_arguments(_defaults(self._preset, known.preset, specs), dest=parser.settings_dest)

    def config(self, options: argparse.Namespace) -> MetricsConfig:
        """The settings that were parsed, with the names that were asked for.

        Raises:
            SystemExit: There is no metric of a name; said in two lines.
            ConfigError: A setting is out of range.
        """
        values = vars(getattr(options, self._parser.settings_dest))
        for each in self._short:
            given = getattr(options, each.dest)
            if given is not None:
                values[each.metric] = dataclasses.replace(values[each.metric], **{each.setting: given})
        names, known = self._names or self._preset.names, metric_names()
        for name in names:
            if name not in known:
                near = did_you_mean(name, known) or f": expected some of {', '.join(known)}"
                self._parser.error(f"there is no metric {name!r}{near}")
        unasked = {*known} - {*built_in_metrics(), *names}
        asked: dict[str, Any] = {key: value for key, value in values.items() if key not in unasked}
        return MetricsConfig(**{**asked, "names": names})


def _lines(specs: list[MetricSpec]) -> str:
    width = max(len(spec.name) for spec in specs)
    return "\n".join(f"  {spec.name:<{width}}  {spec.summary or spec.title}" for spec in specs)


def _defaults(config: MetricsConfig, preset: Preset, specs: list[MetricSpec]) -> Any:
    """A preset's values, those of other packages' metrics among them."""
    foreign = {
        spec.name: spec.settings(**spec.presets.get(preset, {}))
        for spec in specs
        if spec.settings is not None and spec.name not in built_in_metrics()
    }
    return dataclasses.replace(config.options(), **foreign)


@dataclasses.dataclass(frozen=True)
class _ShortFlag:
    """A setting's shorter name, which its metadata give as ``short``."""

    flag: str
    metric: str
    setting: str
    kind: Any
    """The setting's type."""

    @property
    def dest(self) -> str:
        return f"short_{self.metric}_{self.setting}"

    def add_to(self, parser: argparse.ArgumentParser) -> None:
        flags = dict.fromkeys((self.flag, f"--{self.flag[2:].replace('-', '_')}"))
        kinds = {*get_args(self.kind), self.kind}
        how: dict[str, Any] = {"type": int, "metavar": "N"} if int in kinds else {"metavar": "TEXT"}
        if bool in kinds:
            how = {"action": "store_true", "default": None}
        elif get_origin(self.kind) is list:
            how = {"action": "append", "metavar": self.setting.upper().removesuffix("S")}
        parser.add_argument(*flags, dest=self.dest, help=f"short for --{self.metric}.{self.setting}", **how)


def _short_flags(spec: MetricSpec) -> Iterator[_ShortFlag]:
    if spec.settings is None:
        return
    kinds = get_type_hints(spec.settings)
    for each in dataclasses.fields(spec.settings):
        if short := each.metadata.get("short"):
            yield _ShortFlag(short, spec.name, each.name, kinds[each.name])


def token_ids(text: str) -> tuple[int, ...]:
    """Reads token ids that are separated by commas.

    Raises:
        ArgumentTypeError: If it is no such list.
    """
    try:
        return tuple(int(token) for token in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of token ids, such as 0,50256") from None
