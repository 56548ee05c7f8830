"""The judged families go in; what a person reads, as Markdown, comes out."""

from collections.abc import Sequence
from typing import Any

from medtransfer.records.tables import as_markdown
from medtransfer.search.evaluate import Setting
from medtransfer.search.held_out import Best, Family, Totals

Row = dict[str, Any]


def write_up(families: Sequence[Family], totals: Totals, default: Setting, notes: Sequence[str]) -> str:
    """Write the whole result.

    Args:
        families: that share a winner, with what was chosen for each.
        totals: means over all configurations.
        default: the setting of the params.
        notes: in words, what was left out and what else to know.
    """
    parts = ["# Which setting of robustness chooses best", _verdict(families, totals, default)]
    parts += ["## The best setting of each study", as_markdown(_study_rows(families))]
    if held := _held_rows(families):
        parts += ["## Each target, judged by the setting that was chosen without it", as_markdown(held)]
    parts += ["## What else to know", "\n".join(f"- {note}" for note in notes)] if notes else []
    return "\n\n".join(parts) + "\n"


def _verdict(families: Sequence[Family], totals: Totals, default: Setting) -> str:
    seen = totals.in_sample
    found = (
        f"Over {_count(totals.configurations, 'configuration')}, {_winners(families)}. Choosing offline by it brings a mean TIS "
        f"(Dice of the chosen checkpoint over that of the best one) of {seen.chosen:.3f} on the very results that it was chosen on."
    )
    known = "" if seen.default is None else f"the default setting ({default}) brings {seen.default:.3f}, "
    none = "" if seen.none is None else f", no pretraining {seen.none:.3f}"
    beside = f"On the same configurations, {known}the last checkpoint {seen.full:.3f}{none}."
    return "\n\n".join([found, _held_out(families, totals, default), beside])


def _winners(families: Sequence[Family]) -> str:
    found = [f"{f'for {one.encoder} ' if one.encoder else ''}**{one.best.setting}**{_tie(one.best)}" for one in families]
    return f"the best setting is {'; '.join(found)}"


def _tie(best: Best) -> str:
    return f" ({_count(best.tied, 'other setting')} did equally well; the earliest trial wins)" if best.tied else ""


def _held_out(families: Sequence[Family], totals: Totals, default: Setting) -> str:
    if totals.held_out is None or totals.optimism is None:
        single = [f"{one.encoder}: {one.targets[0]}" if one.encoder else one.targets[0] for one in families if not one.held_out]
        return (
            f"With one target only ({'; '.join(single)}) nothing can be held out, so this value is in-sample and says nothing "
            "about other targets."
        )
    flattery = f"{abs(totals.optimism):.3f} {'too high' if totals.optimism >= 0 else 'lower'}"
    text = (
        "Judged on each target by the setting that was chosen without it, the TIS is "
        f"**{totals.held_out.chosen:.3f}**; the in-sample value is {flattery}."
    )
    if totals.held_out.default is None:
        return text
    gain = totals.held_out.chosen - totals.held_out.default
    changes = f"{'gains' if gain > 0 else 'loses'} {abs(gain):.3f} against" if abs(gain) >= 0.0005 else "does as well as"
    text += f" On targets that it has not seen, the search {changes} the default setting."
    if any(one.best.setting == default for one in families):
        text += " But the default setting is the best of all on these results: if it was once chosen on them, it has seen them."
    return text


def _study_rows(families: Sequence[Family]) -> list[Row]:
    bests = [best for family in families for best in (family.best, *(one.best for one in family.held_out))]
    return [_study_row(best) for best in bests]


def _study_row(best: Best) -> Row:
    return {
        "study": best.study, "trials": best.trials, **_columns(best.setting), "TIS on what it saw": best.value,
        "other settings as good": best.tied,
    }  # fmt: skip


def _held_rows(families: Sequence[Family]) -> list[Row]:
    return [
        {
            "target": f"{one.target} ({family.encoder})" if family.encoder else one.target, "configurations": len(one.places),
            **_columns(one.best.setting), "TIS": one.scores.chosen, "TIS online": one.scores.online,
            "default setting": one.scores.default, "last checkpoint": one.scores.full, "no pretraining": one.scores.none,
        }
        for family in families for one in family.held_out
    ]  # fmt: skip


def _columns(setting: Setting) -> Row:
    return {"distance": setting.distance, "margin": setting.margin, "level": setting.level, "pooling": setting.pooling}


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"
